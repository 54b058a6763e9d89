"""Records to rows and back: the shape in which each kind of record lies in the warehouse. No decision is taken here."""

from collections.abc import Iterable, Sequence
from typing import Any

from envs.environment import Environment
from envs.proof import Audit, Proof
from envs.record import content_id
from envs.spec import EnvironmentSpec, Tool
from envs.task import Rejection, Task
from envs.toolbox import ToolboxConfig
from generators.diversity import ALL, Diversity, diversity_id
from generators.domain import Synthesis
from serving.endpoint import LlmCall
from serving.ledger import Ledger
from trainer.difficulty import Difficulty
from trainer.rollout import Rollout, rollouts_from
from warehouse.lineage import Edge
from warehouse.warehouse import Batch, Warehouse

Rows = list[dict[str, Any]]


def environment_row(environment: Environment) -> dict[str, Any]:
    """The row of one environment."""
    spec = environment.spec
    return {
        "id": spec.id,
        "domain": spec.domain,
        "title": spec.title,
        "n_tables": len(spec.tables),
        "n_rows": sum(len(rows) for rows in spec.rows.values()),
        "n_tools": len(spec.tools),
        "clock": spec.clock,
        "seed": spec.seed,
        "base_state_sha256": environment.base.sha256,
        "record": spec.canonical(),
    }


def tool_rows(spec: EnvironmentSpec) -> Rows:
    """One row per tool of an environment."""
    return [
        {
            "id": f"{spec.id}.{tool.name}",
            "environment_id": spec.id,
            "domain": spec.domain,
            "name": tool.name,
            "writes": tool.writes,
            "n_parameters": len(tool.parameters),
            "record": tool.canonical(),
        }
        for tool in spec.tools
    ]


def task_rows(tasks: Iterable[Task]) -> Rows:
    """One row per task. The shape of a task is the sequence of its golden tools."""
    return [
        {
            "id": task.id,
            "environment_id": task.environment_id,
            "domain": task.domain,
            "instruction": task.instruction,
            "shape": " > ".join(call.tool for call in task.golden),
            "difficulty": task.difficulty,
            "n_writes": len(task.goal.changeset),
            "n_facts": len(task.goal.facts),
            "record": task.canonical(),
        }
        for task in tasks
    ]


def check_rows(proofs: Iterable[Proof], environment_id: str) -> Rows:
    """One row per check of a proof."""
    return [
        {
            "id": f"{proof.task_id}.{check.name}",
            "task_id": proof.task_id,
            "environment_id": environment_id,
            "name": check.name,
            "outcome": str(check.outcome),
            "evidence": check.evidence,
        }
        for proof in proofs
        for check in proof.checks
    ]


def audit_rows(audit: Audit) -> Rows:
    """One row per measured rate of an environment's verifiers; each holds the whole audit."""
    return [
        {
            "id": f"{audit.id}.{rate.fault}.{rate.operator}",
            "environment_id": audit.environment_id,
            "domain": audit.domain,
            **rate.model_dump(),
            "record": audit.canonical(),
        }
        for rate in audit.rates
    ]


def rejection_rows(rejections: Iterable[Rejection]) -> Rows:
    """One row per distinct rejection."""
    distinct = {rejection.id: rejection for rejection in rejections}
    return [
        {
            "id": rejection.id,
            "domain": rejection.domain,
            "stage": rejection.stage,
            "reason": rejection.reason,
            "detail": rejection.detail,
            "record": rejection.canonical(),
        }
        for rejection in distinct.values()
    ]


def diversity_rows(measured: Iterable[Diversity], tasks: Sequence[Task]) -> Rows:
    """One row per scope: all, or a domain."""
    return [
        {"id": diversity_id(found, [task for task in tasks if found.scope in (ALL, task.domain)]), **found.model_dump()}
        for found in measured
    ]


def difficulty_rows(measured: Iterable[Difficulty], campaign: str) -> Rows:
    """One row per task and policy."""
    return [
        {
            "id": content_id([campaign, found.id]),
            "campaign": campaign,
            **found.model_dump(),
            "pass_at_k": found.pass_at_k,
        }
        for found in measured
    ]


def call_rows(ledger: Ledger, ids: Iterable[str]) -> Rows:
    """One row per LLM call, out of the ledger."""
    return [call_row(call) for call in ledger.calls(sorted(set(ids)))]


def call_row(call: LlmCall) -> dict[str, Any]:
    """The row of one LLM call."""
    return {
        "id": call.id,
        "model": call.model,
        "template": call.request.template,
        "template_sha256": call.request.template_sha256,
        "seed": call.request.seed,
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "seconds": call.seconds,
        "finish_reason": call.finish_reason,
        "cost_usd": call.cost_usd,
        "record": call.canonical(),
    }


def call_edges(ids: Iterable[str], kind: str, child: str, relation: str) -> list[Edge]:
    """From the LLM calls `ids` to what was made of their answers."""
    return [Edge("llm_call", call, kind, child, relation) for call in ids]


def design_edges(made: Synthesis, ledger: Ledger) -> list[Edge]:
    """From the LLM calls to the environment, named by what they wrote of it, and to the tools they wrote whole."""
    spec = made.spec
    calls = ledger.calls(sorted(spec.made_from))
    return [
        *(Edge("llm_call", call.id, "environment", spec.id, f"wrote_{call.request.template}") for call in calls),
        *(Edge("llm_call", call, "tool", f"{spec.id}.{name}", "wrote") for name, call in made.tool_calls.items()),
    ]


def refusal_edges(rejections: Iterable[Rejection]) -> list[Edge]:
    """From LLM calls to what was rejected of their answers."""
    return [edge for each in rejections for edge in call_edges(each.made_from, "rejection", each.id, "refused")]


def hook_edges(source: str | None, kind: str, children: Iterable[str]) -> list[Edge]:
    """From a domain's own Python to what it took part in; none without any."""
    return [Edge("hooks", source, kind, child, "wrote") for child in children if source]


def rollout_rows(rollouts: Iterable[Rollout]) -> tuple[Rows, Rows]:
    """Rows of `rollouts` and of `turns`."""
    pairs = [rollout.rows() for rollout in rollouts]
    return [row for row, _ in pairs], [turn for _, turns in pairs for turn in turns]


def rollout_tables(rollout: Rollout) -> dict[str, Rows]:
    """One rollout as rows by table, to be stored whole: turns of one attempt never stand beside another's verdict."""
    row, turns = rollout.rows()
    return {"rollouts": [row], "turns": turns}


def read_spec(warehouse: Warehouse, batch: Batch) -> EnvironmentSpec:
    """The environment of a batch."""
    return EnvironmentSpec.model_validate_json(warehouse.records(batch.batch_id, "environments")[0])


def read_tasks(warehouse: Warehouse, batch: Batch) -> list[Task]:
    """The tasks of a batch, in order."""
    return [Task.model_validate_json(record) for record in warehouse.records(batch.batch_id, "tasks")]


def read_rollouts(warehouse: Warehouse, batch: Batch) -> list[Rollout]:
    """The rollouts of a batch with their turns, sorted by id."""
    rows = warehouse.read_batch(batch.batch_id, "rollouts").to_dicts()
    return rollouts_from(rows, warehouse.read_batch(batch.batch_id, "turns").to_dicts())


def read_difficulties(warehouse: Warehouse, batch: Batch) -> list[Difficulty]:
    """What a batch of `difficulty` measured."""
    rows = warehouse.read_batch(batch.batch_id, "difficulties").select(list(Difficulty.model_fields))
    return [Difficulty.model_validate(row) for row in rows.to_dicts()]


def tools_of(warehouse: Warehouse, environment_ids: Iterable[str]) -> dict[tuple[str, str], Tool]:
    """The tools of these environments, by environment id and name."""
    rows = warehouse.query(
        "SELECT environment_id, name, record FROM tools WHERE environment_id IN (SELECT unnest(?)) ORDER BY id",
        [sorted(environment_ids)],
    )
    return {(row["environment_id"], row["name"]): Tool.model_validate_json(row["record"]) for row in rows.to_dicts()}


def environments_of(warehouse: Warehouse, ids: Iterable[str]) -> dict[str, Environment]:
    """The environments of these ids, loaded. Raises KeyError for one that is not stored."""
    loaded = {}
    for identity in sorted(set(ids)):
        found = warehouse.query("SELECT record FROM environments WHERE id = ?", [identity])["record"].to_list()
        if not found:
            raise KeyError(f"environment {identity} is not in the warehouse")
        loaded[identity] = Environment.load(EnvironmentSpec.model_validate_json(found[0]))
    return loaded


def golden_environments(
    warehouse: Warehouse, data: Batch, of_tasks: Iterable[str], toolbox: ToolboxConfig
) -> dict[str, Environment]:
    """Those of the tasks whose golden trajectories are trained on, and those that lend them distractors."""
    return environments_of(warehouse, {*of_tasks, *(environment_ids(warehouse, data) if toolbox.distractors else ())})


def environment_ids(warehouse: Warehouse, data: Batch) -> list[str]:
    """The ids of the environments of a dataset's tasks, sorted."""
    return sorted(set(warehouse.read_batch(data.batch_id, "tasks")["environment_id"]))


def split_of(warehouse: Warehouse, data: Batch, split: str) -> list[Task]:
    """The tasks of one split of a dataset, sorted by id."""
    rows = warehouse.read_batch(data.batch_id, "splits").to_dicts()
    wanted = {row["task_id"] for row in rows if row["split"] == split}
    return sorted((task for task in read_tasks(warehouse, data) if task.id in wanted), key=lambda task: task.id)


def rollouts_by_id(warehouse: Warehouse, ids: list[str]) -> list[Rollout]:
    """The stored rollouts of these ids with their turns, sorted by id."""
    rows = warehouse.query("SELECT * FROM rollouts WHERE id IN (SELECT unnest(?))", [ids])
    turns = warehouse.query("SELECT * FROM turns WHERE rollout_id IN (SELECT unnest(?))", [ids])
    return rollouts_from(rows.to_dicts(), turns.to_dicts())


def merged(tables: Iterable[dict[str, Rows]]) -> dict[str, Rows]:
    """Rows of several results, table by table."""
    together: dict[str, Rows] = {}
    for found in tables:
        for name, rows in found.items():
            together.setdefault(name, []).extend(rows)
    return together
