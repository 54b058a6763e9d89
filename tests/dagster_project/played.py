"""A small campaign, played to its first checkpoint without a model: rules act for the policies."""

from collections.abc import Iterable, Sequence
from typing import Any

from dagster_project.campaign import Campaign
from dagster_project.evaluating import collect_into, evaluate, evaluate_rules
from dagster_project.home import Home
from dagster_project.training import judge
from envs.environment import Environment
from envs.task import Preference, Task
from envs.toolbox import ToolboxConfig
from tests.fixtures import shop_spec, shop_tasks
from tests.trainer.staging import FOOL, SAGE, talking_task
from trainer.advantages import reward_rows
from trainer.baselines import RULES, RuleEngine
from trainer.conversation import Tokenizer
from trainer.engine import ServedPolicy
from trainer.settings import EvaluationConfig, RolloutConfig
from warehouse.lineage import Edge
from warehouse.rows.environments import environment_row
from warehouse.rows.merge import merged
from warehouse.rows.tasks import task_rows
from warehouse.tables import TABLES
from warehouse.warehouse import Batch, Warehouse

HOSTILE = "</pre></details><script>alert('owned')</script> & $x^2$"
WISH = Preference(text="Please keep <b>costs</b> low.", cost=0.5)
CAMPAIGN = Campaign(
    domains=("shop",),
    rollouts=RolloutConfig(
        samples_per_task=2, max_turns=10, toolbox=ToolboxConfig(pool=(SAGE, FOOL), experts=2), concurrency=4
    ),
    evaluation=EvaluationConfig(
        rules=("cheapest_expert", "dearest_expert", "random"), unseen={"unseen_preference": 5, "unseen_tool": 3}
    ),
)


def store(
    warehouse: Warehouse, asset: str, partition: str, tables: dict[str, Any], edges: Iterable[Edge] = ()
) -> Batch:
    """A batch of an asset, as the asset would record it."""
    rows = {name: [dict.fromkeys(TABLES[name].columns) | row for row in part] for name, part in tables.items()}
    return warehouse.record_batch(asset, partition, rows, edges, run_id="r", code_version="c")


def tasks_of(shop: Environment) -> list[Task]:
    """The shop's tasks and a talking one; some state a wish, and no request is a friend of pages."""
    tasks = [*shop_tasks(shop), talking_task(shop)]
    wishes = [WISH if place in (1, 3, 4, 5, 6) else Preference() for place in range(len(tasks))]
    return [
        task.model_copy(update={"instruction": f"{task.instruction} {HOSTILE}", "preference": wish})
        for task, wish in zip(tasks, wishes, strict=True)
    ]


def dataset(warehouse: Warehouse, tasks: Sequence[Task]) -> Batch:
    """Of the tasks with a wish one is kept from training, the others are test tasks."""
    splits = ["train", "unseen_preference", "test", "test", *["test"] * (len(tasks) - 4)]
    rows = [{"task_id": task.id, "split": split} for task, split in zip(tasks, splits, strict=True)]
    return store(warehouse, "task_dataset", "told", {"tasks": task_rows(tasks), "splits": rows})


def policy(
    warehouse: Warehouse, asset: str, partition: str, kind: str, tables: dict[str, Any] | None = None, **more: Any
) -> Batch:
    """A policy of the campaign, with what it was made by; its id tells its kind."""
    row = {"id": f"{kind}-policy", "kind": kind, "campaign": "told", "path": "/nowhere", "record": "{}"}
    row |= {"code_version": "0" * 40, **more}
    return store(warehouse, asset, partition, {"checkpoints": [row], **(tables or {})})


def play(home: Home, tokenizer: Tokenizer, campaign: Campaign = CAMPAIGN) -> Warehouse:
    """Baseline, one iteration and its evaluation: chance acts for the base model, experts for what was learnt."""
    warehouse = Warehouse(home.warehouse, home.parts)
    with Environment.load(shop_spec()) as shop:
        tasks = tasks_of(shop)
        store(warehouse, "environment", "shop", {"environments": [environment_row(shop)]})
    data = dataset(warehouse, tasks)
    before = policy(warehouse, "base_policy", "told", "base")
    warm = policy(warehouse, "warm_policy", "told", "warm_start", parent_id="base-policy")
    acting = {name: RuleEngine(rule, tokenizer) for name, rule in RULES.items()}
    about = (campaign, "told", -1, data)
    base = evaluate(warehouse, acting["random"], *about, before)
    found = [base, evaluate(warehouse, acting["cheapest_expert"], *about, warm, base.rollouts)]
    found += evaluate_rules(warehouse, tokenizer, *about, base.rollouts).values()
    edges = [edge for each in found for edge in each.edges]
    store(warehouse, "baseline", "told", merged(each.tables for each in found), edges)
    made = train(warehouse, campaign, acting["dearest_expert"], tasks[:1])
    after = policy(warehouse, "checkpoint", "told-0000", "update", made, iteration=0)
    learnt = evaluate(warehouse, acting["dearest_expert"], campaign, "told", 0, data, after, base.rollouts)
    store(warehouse, "evaluation", "told-0000", learnt.tables, learnt.edges)
    return warehouse


def train(warehouse: Warehouse, campaign: Campaign, engine: RuleEngine, tasks: Sequence[Task]) -> dict[str, Any]:
    """Rollouts of iteration 0, their rewards, and an update that was never made: the rows of its checkpoint's batch."""
    warm = ServedPolicy(policy_id="warm_start-policy")
    collected = collect_into(warehouse, engine, tasks, warm, campaign.rollouts, "told", 0, "training")
    rewards, advantages = judge(collected, campaign)
    update = {"id": "u", "campaign": "told", "iteration": 0, "kind": "grpo", "checkpoint_id": "update-policy"}
    rows = [{**row, "update_id": "u"} for row in reward_rows(rewards, advantages)]
    return {"updates": [update], "rewards": rows}
