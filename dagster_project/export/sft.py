"""Examples for supervised training as a dataset: as messages, as text, and as the tokens the warm start trains on."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dagster_project.campaign import Campaign, CampaignError
from dagster_project.home import Home
from dagster_project.recorded_campaign import campaign_of
from envs.spec import EnvironmentSpec
from envs.task import Task
from envs.work_folder import work_folder
from serving.models import resolve_model
from trainer.checkpoint import CheckpointManifest
from trainer.conversation import load_tokenizer
from trainer.dialects.choice import dialect_for
from trainer.examples import Example, Overheard, golden_examples, solved_example
from trainer.golden import Equipment
from trainer.rollout import from_rows
from trainer.rows import TrainingRow, rows_sha256
from warehouse.export.folder import DatasetFolder, ExportRefused
from warehouse.export.quarantined import quarantined_tasks
from warehouse.export.rollout_columns import COMPLETIONS, EXAMPLES, TOKENS
from warehouse.export.run import Export, Exported, Wanted
from warehouse.export.staging import rows, stage
from warehouse.export.tasks import specs_of
from warehouse.rows.environments import golden_environments
from warehouse.warehouse import Batch, Warehouse

_TRAIN_TASKS = """
SELECT t.id, t.environment_id, t.record
FROM batch_tasks t JOIN batch_splits s ON s.batch_id = t.batch_id AND s.task_id = t.id
WHERE t.batch_id = $batch AND s.split = 'train' AND t.id NOT IN (SELECT unnest($left_out)) ORDER BY t.id
"""
_TASKS = "SELECT count(*) AS n FROM batch_members WHERE batch_id = ? AND table_name = 'tasks'"
_WARM_STARTS = """
SELECT c.id, c.record FROM batch_checkpoints c JOIN batches b USING (batch_id)
JOIN lineage_edges e ON e.child_id = b.batch_id AND e.relation = 'input' AND e.parent_id = ?
WHERE b.asset = 'warm_policy' ORDER BY b.created_at DESC, b.batch_id LIMIT 1
"""


@dataclass(frozen=True)
class Rendering:
    """What examples are rendered with: the campaign's settings, and a conversation in its policy's chat template."""

    campaign: Campaign
    conversation: Overheard
    model: str
    """The fingerprint of the policy's base model."""


def export_sft(home: Home, wanted: Wanted, *, solved_rollouts: bool = False) -> Exported:
    """Golden trajectories of the training tasks, and solved training rollouts if asked for.

    Raises ExportRefused, WarehouseError, ServingError (the policy's tokenizer cannot be had) and GoldenFailed.
    """
    export = Export(Warehouse(home.warehouse, home.parts), wanted, EXAMPLES, COMPLETIONS, TOKENS)
    batch = wanted.selection.dataset(export.warehouse)
    rendering = _rendering(export, batch, home)
    bad = quarantined_tasks(export.warehouse, [batch.batch_id])
    export.leave_out_quarantined(bad)
    batch_ids = [batch.batch_id]
    batch_tasks = export.warehouse.query(_TASKS, [batch.batch_id])["n"].item()
    with work_folder("envloom-export-") as staging, export.folder() as folder:
        file = staging / "tasks.parquet"
        stage(export.warehouse, _TRAIN_TASKS, {"batch": batch.batch_id, "left_out": bad.ids}, file)
        task_ids = [row["id"] for row in rows(file)]
        export.require_proven(task_ids)
        export.leave_out("task of a split that is not trained on", batch_tasks - len(bad.ids) - len(task_ids))
        written = rows_sha256(_write_golden(export, batch, folder, file, rendering))
        export.notes.append(_as_trained(export, batch, written, rendering))
        if solved_rollouts:
            batch_ids += _write_solved(export, folder, rendering)
        return export.publish(
            folder,
            batch_ids,
            title=f"EnvLoom examples: campaign {batch.partition}",
            about="Trajectories that solve their task, for supervised training: golden ones, whose results come from "
            "executing the program in the environment"
            + (", and rollouts of policies that were solved." if solved_rollouts else ".")
            + f" They are worded for {rendering.model}: `text` and `tokens` fit its tokenizer and chat template, "
            "`messages` those of models that were shown tools in the same way.",
            tags=["sft", "trl"],
            nothing=f"batch {batch.batch_id} of {batch.asset} has no tasks in the split train.",
        )


def _rendering(export: Export, batch: Batch, home: Home) -> Rendering:
    try:
        campaign = campaign_of(export.warehouse, [batch])
    except CampaignError as error:
        raise ExportRefused(
            f"batch {batch.batch_id} of {batch.asset} belongs to no campaign with known settings, so that the dialect "
            "and the policy are unknown. Name a campaign, or a batch of its task_dataset."
        ) from error
    model = resolve_model(campaign.policy, home.models, campaign.revision)
    tokenizer = load_tokenizer(model.path)
    conversation = Overheard(tokenizer, dialect_for(campaign.rollouts.dialect, tokenizer))
    return Rendering(campaign, conversation, model.fingerprint)


def _write_golden(
    export: Export, batch: Batch, folder: DatasetFolder, file: Path, rendering: Rendering
) -> Iterator[TrainingRow]:
    """Write the golden example of every staged task, and yield the rows that the warm start makes of them."""
    settings = rendering.campaign
    limit = settings.warm_start.result_limit_chars
    toolbox, ids = settings.rollouts.toolbox, {row["environment_id"] for row in rows(file)}
    worlds = golden_environments(export.warehouse, batch, ids, toolbox)
    specs = [world.spec for world in worlds.values()]
    warm_start = settings.warm_start
    equipment = Equipment(toolbox, warm_start.expert_rate, settings.seed, specs, warm_start.examples_per_task)
    with ExitStack() as opened:
        for world in worlds.values():
            opened.callback(world.close)
        for found in rows(file):
            task = Task.model_validate_json(found["record"])
            world = worlds[task.environment_id]
            for example, row in golden_examples(task, world, rendering.conversation, limit, equipment):
                _write(folder, example, rendering.conversation)
                yield row


def _write_solved(export: Export, folder: DatasetFolder, rendering: Rendering) -> list[str]:
    """Write the solved training rollouts; returns the batches they are of."""
    specs: dict[str, EnvironmentSpec] = {}
    changed = 0
    with export.staged_rollouts() as staged:
        for found in staged.rollouts:
            if not found.row["solved"] or found.row["purpose"] != "training":
                continue
            rollout = from_rows(found.row, found.turns)
            strange = {distractor.environment_id for distractor in rollout.toolbox.distractors}
            specs |= specs_of(export.warehouse, sorted({rollout.environment_id, *strange} - set(specs)))
            example = solved_example(rollout, found.task, specs, rendering.conversation)
            if example is None:
                changed += 1
            else:
                _write(folder, example, rendering.conversation)
        export.leave_out("rollout whose words today's code would put into other tokens", changed)
        return staged.batch_ids


def _write(folder: DatasetFolder, example: Example, conversation: Overheard) -> None:
    folder.add(EXAMPLES.name, "train", example.message_row())
    for row in example.completion_rows(conversation):
        folder.add(COMPLETIONS.name, "train", row)
    folder.add(TOKENS.name, "train", example.token_row())


def _as_trained(export: Export, batch: Batch, written: str, rendering: Rendering) -> str:
    """Whether these are the very examples that the campaign's warm start was trained on."""
    told = f"The golden examples have the hash `{written}` (of the rows of `tokens`, as the trainer takes it)."
    found = export.warehouse.query(_WARM_STARTS, [batch.batch_id]).to_dicts()
    if not found:
        return f"{told} No warm start on this dataset is in the warehouse."
    manifest = CheckpointManifest.model_validate_json(found[0]["record"])
    name = f"warm start `{found[0]['id']}` of {manifest.base_model}"
    if manifest.rows_sha256 == written and manifest.base_model == rendering.model:
        return f"{told} They are what {name} was trained on, to the byte."
    return (
        f"{told} They are not what {name} was trained on (`{manifest.rows_sha256}`): settings, code, model or what is "
        "left out have changed since."
    )
