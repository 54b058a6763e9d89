"""What the rows of a batch must be, from what is behind them: records, specifications, rollouts, settings of then."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from pydantic import ValidationError

from dagster_project import stored
from dagster_project.evaluating import evaluation_row
from dagster_project.home import Home
from dagster_project.recorded_campaign import campaign_of
from dagster_project.training import judge, update_identity
from envs.diversity import Diversity
from envs.environment import Environment
from envs.proof import Audit
from envs.proof.check import CheckOutcome
from envs.spec import EnvironmentSpec
from envs.summary import ALL, Summary
from envs.task import Rejection, Task
from serving.endpoint import LlmCall
from trainer.advantages import reward_rows
from trainer.checkpoint import CheckpointManifest
from trainer.difficulty import difficulties
from trainer.evaluate import summarise
from trainer.rollout import Rollout, rollouts_from
from trainer.settings import UpdateConfig, WarmStartConfig
from warehouse.copying import inputs_of
from warehouse.rows.calls import call_row
from warehouse.rows.environments import environment_row, tool_rows
from warehouse.rows.measures import difficulty_rows, diversity_rows
from warehouse.rows.proofs import audit_rows
from warehouse.rows.tasks import rejection_rows, task_rows
from warehouse.warehouse import Batch, Warehouse

Rows: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True)
class Stored:
    """A recorded batch with its rows, and the home it lies in."""

    home: Home
    warehouse: Warehouse
    batch: Batch

    @cached_property
    def tables(self) -> dict[str, Rows]:
        return {name: frame.to_dicts() for name, frame in self.warehouse.read_whole(self.batch.batch_id).items()}

    @cached_property
    def inputs(self) -> dict[str, Batch]:
        """By asset; of several of one asset, as datasets read them, the last."""
        found = [self.warehouse.batch(each) for each in inputs_of(self.warehouse, self.batch.batch_id)]
        return {batch.asset: batch for batch in found}

    @cached_property
    def rollouts(self) -> list[Rollout]:
        return rollouts_from(self.tables.get("rollouts", []), self.tables.get("turns", []))


def _environments(there: Stored) -> Rows:
    rows = []
    for spec in _specs(there):
        with closing(Environment.load(spec)) as world:  # compiled and seeded anew: the base state is hashed
            rows.append(environment_row(world))
    return rows


def _specs(there: Stored) -> list[EnvironmentSpec]:
    return [EnvironmentSpec.model_validate_json(row["record"]) for row in there.tables["environments"]]


def _tasks(there: Stored) -> list[Task]:
    return [Task.model_validate_json(row["record"]) for row in there.tables.get("tasks", [])]


def _audits(there: Stored) -> Rows:
    records = dict.fromkeys(row["record"] for row in there.tables["audits"])
    return [row for record in records for row in audit_rows(Audit.model_validate_json(record))]


def _checks(there: Stored) -> Rows:
    return [
        row | {"id": f"{row['task_id']}.{row['name']}", "outcome": str(CheckOutcome(row["outcome"]))}
        for row in there.tables["checks"]
    ]


def _diversity(there: Stored) -> Rows:
    measured = [
        Diversity.model_validate({k: v for k, v in row.items() if k != "id"}) for row in there.tables["diversity"]
    ]
    return diversity_rows(measured, _tasks(there))


def _difficulties(there: Stored) -> Rows:
    k = there.tables["difficulties"][0]["k"]
    return difficulty_rows(difficulties(there.rollouts, k), there.batch.partition or "")


def _checkpoints(there: Stored) -> Rows:
    return [row if row["kind"] == "base" else _of_manifest(row) for row in there.tables["checkpoints"]]


def _of_manifest(row: Mapping[str, Any]) -> dict[str, Any]:
    manifest = CheckpointManifest.model_validate_json(row["record"])
    return {
        "id": manifest.id,
        "base_model": manifest.base_model,
        "kind": manifest.kind,
        "config": _config(row, manifest),
        "seed": manifest.seed,
        "code_version": manifest.code_version,
        "adapter_sha256": manifest.adapter_sha256,
        "record": manifest.canonical(),
    }


def _config(row: Mapping[str, Any], manifest: CheckpointManifest) -> Any:
    """The column, if its settings are the manifest's, which leaves out what is at its default; else the manifest's."""
    settings = WarmStartConfig if manifest.kind == "warm_start" else UpdateConfig
    try:
        sealed = settings.model_validate(manifest.config)
        same = settings.model_validate_json(row["config"]) == sealed
    except ValidationError:
        return manifest.config
    return row["config"] if same else sealed.model_dump(mode="json")


def _updates(there: Stored) -> Rows:
    """Ids, and what the checkpoint beside it says too."""
    [row], [made] = there.tables["updates"], there.tables["checkpoints"]
    return [
        {
            "id": update_identity(made["id"], row["campaign"], row["iteration"]),
            "checkpoint_id": made["id"],
            "parent_checkpoint": made["parent_id"],
            "config": made["config"],
            "seed": made["seed"],
        }
    ]


def scored(there: Stored) -> list[Rollout]:
    """The rollouts of the input without those that were under quarantine, which have no reward."""
    scored = {row["rollout_id"] for row in there.tables["rewards"]}
    return [one for one in stored.read_rollouts(there.warehouse, there.inputs["rollouts"]) if one.id in scored]


def _rewards(there: Stored) -> Rows:
    """Computed again from the rollouts of the input, by the settings of then."""
    rewards, advantages = judge(scored(there), campaign_of(there.warehouse, [there.batch]))
    [update] = there.tables["updates"]
    return [{**row, "update_id": update["id"]} for row in reward_rows(rewards, advantages)]


def _evaluations(there: Stored) -> Rows:
    """Summaries computed again from the rollouts, and the ids that follow from them."""
    data = there.inputs["task_dataset"].batch_id
    splits: dict[str, set[str]] = {}
    for row in there.warehouse.read_batch(data, "splits").to_dicts():
        splits.setdefault(row["split"], set()).add(row["task_id"])
    confidence = campaign_of(there.warehouse, [there.batch]).evaluation.confidence
    rows = []
    for row in there.tables["evaluations"]:
        told = Summary.model_validate_json(row["record"])
        of = [one for one in there.rollouts if one.policy_id == row["policy_id"] and one.task_id in splits[told.split]]
        found = next(each for each in summarise(of, confidence, told.split) if each.scope == told.scope)
        again = found.model_copy(update={"adherence": told.adherence if told.scope == ALL else None})
        rows.append(evaluation_row(again, row["campaign"], row["iteration"], row["policy_id"], data))
    return rows


DERIVED: Mapping[str, Callable[[Stored], Sequence[Mapping[str, Any]]]] = {
    "environments": _environments,
    "tools": lambda there: [row for spec in _specs(there) for row in tool_rows(spec)],
    "tasks": lambda there: task_rows(_tasks(there)),
    "rejections": lambda there: rejection_rows(
        Rejection.model_validate_json(row["record"]) for row in there.tables["rejections"]
    ),
    "llm_calls": lambda there: [
        call_row(LlmCall.model_validate_json(row["record"])) for row in there.tables["llm_calls"]
    ],
    "checks": _checks,
    "audits": _audits,
    "diversity": _diversity,
    "difficulties": _difficulties,
    "rollouts": lambda there: stored.rollout_rows(there.rollouts)[0],
    "turns": lambda there: stored.rollout_rows(there.rollouts)[1],
    "checkpoints": _checkpoints,
    "updates": _updates,
    "rewards": _rewards,
    "evaluations": _evaluations,
}
"""Table → the rows that a batch must have, from what is behind them. Splits have nothing behind them but the seed."""
