"""Tasks, rollouts and preferences as datasets: what is chosen, how it is told. Rows are the warehouse's affair."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from envs import taskset
from envs.spec import EnvironmentSpec
from envs.task import Task
from envs.work_folder import work_folder
from warehouse.export.quarantined import quarantined_tasks
from warehouse.export.rollout_columns import INSTRUCTIONS, PAIRS, ROLLOUTS, TOKEN_COLUMNS
from warehouse.export.rollouts import SPLITS, Pairing, StoredRollout, Talk, Wishes, pair_row, rollout_row
from warehouse.export.run import Export, Exported, Wanted
from warehouse.export.staging import stage
from warehouse.export.task_columns import ENVIRONMENTS, TASKS, VERL
from warehouse.export.tasks import STAGED_TASKS, environment_rows, exported_tasks, verl_row
from warehouse.warehouse import Warehouse

DefaultWeights = Callable[[Sequence[str]], Mapping[str, float] | None]
"""Ids of batches of rollouts → what counts where a user states no preference; None where the settings are unknown."""


class Teller(Protocol):
    """Puts tasks and rollouts into the form of chat APIs: messages, and tools as JSON text."""

    def opening(self, task: Task) -> tuple[list[dict[str, Any]], list[str]]: ...

    def rollout(self, rollout: StoredRollout) -> Talk: ...


def export_tasks(warehouse: Warehouse, wanted: Wanted, teller: Teller) -> Exported:
    """The tasks of a dataset with their environments, and once more as verl reads them.

    Raises ExportRefused, and WarehouseError for a batch that is not there.
    """
    export = Export(warehouse, wanted, TASKS, ENVIRONMENTS, VERL)
    batch = wanted.selection.dataset(export.warehouse)
    bad = quarantined_tasks(export.warehouse, [batch.batch_id])
    export.leave_out_quarantined(bad)
    environments: dict[str, None] = {}
    places: dict[str, int] = {}
    task_ids = []
    with work_folder("envloom-export-") as staging, export.folder() as folder:
        file = staging / "tasks.parquet"
        stage(export.warehouse, STAGED_TASKS, {"batch": batch.batch_id, "left_out": bad.ids}, file)
        for exported in exported_tasks(file, teller.opening):
            place = places.get(exported.split, 0)
            folder.add("tasks", exported.split, exported.row)
            folder.add("verl", exported.split, verl_row(exported, place))
            folder.add_line(taskset.TASKS, taskset.task_line(exported.task, exported.split))
            places[exported.split] = place + 1
            environments[exported.task.environment_id] = None
            task_ids.append(exported.row["id"])
        export.require_proven(task_ids)
        for row in environment_rows(export.warehouse, list(environments)):
            folder.add("environments", "train", row)
            spec = EnvironmentSpec.model_validate_json(row["record"])
            folder.add_line(taskset.ENVIRONMENTS, taskset.environment_line(spec))
        campaign = batch.asset == "task_dataset" and wanted.selection.batch_id is None
        return export.publish(
            folder,
            [batch.batch_id],
            title=f"EnvLoom tasks: {f'campaign {batch.partition}' if campaign else f'batch {batch.batch_id[:8]}'}",
            about="Requests to an assistant with tools, each in an executable environment, with a program that solves "
            "it and a goal that can be checked without a model. A row of `environments` is enough to rebuild one; "
            "`envs.load_taskset(folder)` reads tasks and environments from the `.jsonl` files.",
            tags=["reinforcement-learning", "trl", "verl"],
            nothing=f"batch {batch.batch_id} of {batch.asset} has no tasks to export. Name a batch of task_dataset.",
        )


def export_rollouts(warehouse: Warehouse, wanted: Wanted, teller: Teller, *, tokens: bool = True) -> Exported:
    """Attempts at tasks: conversations, tokens, outcomes, rewards, costs. Raises as `export_tasks`."""
    columns = ROLLOUTS if tokens else ROLLOUTS.without(*TOKEN_COLUMNS)
    export = Export(warehouse, wanted, columns)
    with export.staged_rollouts() as staged, export.folder() as folder:
        for rollout in staged.rollouts:
            purpose = rollout.row["purpose"]
            folder.add(columns.name, SPLITS.get(purpose, purpose), rollout_row(rollout, teller.rollout))
        return export.publish(
            folder,
            staged.batch_ids,
            title=f"EnvLoom rollouts: {staged.whose}",
            about="Attempts of policies at tasks in executable environments: what was said and called, in tokens and "
            "in words, the verdict, the reward and what it was made of, and what it cost.",
            tags=["reinforcement-learning", "trajectories"],
            nothing=f"{staged.whose} has no rollouts that could be exported.",
        )


def export_preferences(
    warehouse: Warehouse, wanted: Wanted, teller: Teller, pairing: Pairing, default_weights: DefaultWeights
) -> Exported:
    """Pairs of attempts at one task, the one of higher reward chosen, and the preferences stated in words.

    Raises as `export_tasks`, and where no two attempts of a group have different rewards.
    """
    export = Export(warehouse, wanted, PAIRS, INSTRUCTIONS)
    wishes = Wishes()
    with export.staged_rollouts() as staged, export.folder() as folder:
        for chosen, rejected in pairing.of(wishes.met(staged.rollouts)):
            row = pair_row(chosen, rejected, teller.rollout)
            if row["chosen"] == row["rejected"]:
                export.leave_out("pair of attempts that say and do the same", 1)
            else:
                folder.add("pairs", "train", row)
        for row in wishes.rows():
            folder.add("instructions", "train", row)
        export.leave_out("group without two attempts of different reward", pairing.without_pair)
        export.notes += _weights_note(default_weights(staged.batch_ids))
        return export.publish(
            folder,
            staged.batch_ids,
            title=f"EnvLoom preferences: {staged.whose}",
            about="Two attempts of one policy at one task, under one preference and with one price list, told apart by "
            "their reward: solving the task, cheaply, quickly, with the tools the user wished for, as weighted by the "
            f"preference. {_rule(pairing)}",
            tags=["preference", "dpo", "trl"],
            nothing=f"{staged.whose}: in none of {pairing.groups} rewarded groups do two attempts have different "
            "rewards, so that nothing can be preferred. Roll out more, or lower --min-margin.",
        )


def _rule(pairing: Pairing) -> str:
    which = "the best and the worst of each group" if pairing.pairs == "best" else "all of each group"
    margin = f" with a margin above {pairing.min_margin:g}" if pairing.min_margin else ""
    return f"Pairs are {which}{margin}; equal rewards are ordered by id."


def _weights_note(weights: Mapping[str, float] | None) -> list[str]:
    if weights is None:
        return []
    listed = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
    return [f"Where `preference.text` is empty, the campaign's own weights made the reward: {listed}."]
