"""Between an asset and the training process: the job's folder, the process through Dagster Pipes, the rows it makes."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.campaign import Campaign
from dagster_project.home import REPOSITORY, Home
from dagster_project.record import source_version
from envs.record import content_id
from serving.models import ResolvedModel
from trainer.advantages import Advantage, advantages_of, counts, reward_rows
from trainer.engine import ServedPolicy
from trainer.jobs import TrainingResult, UpdateJob, WarmStartJob
from trainer.process import RESULT, ending_with_us
from trainer.rewards import Reward, measures_of, preference_or_default, score_group
from trainer.rollout import Rollout
from trainer.rows import training_rows, write_training_rows
from warehouse.warehouse import Batch, Warehouse


class NothingToTrainOn(RuntimeError):
    """No rollout of the batch carries a signal: why, by count."""


class NoAdapter(RuntimeError):
    """A trained checkpoint whose row names no adapter: which, and how to make it again."""


@dataclass(frozen=True)
class Scored:
    """A batch of rollouts with what the update needs and what the warehouse keeps."""

    rewards: list[Reward]
    reward_rows: list[dict[str, object]]
    counts: dict[str, int]
    rows_path: Path


def base_row(model: ResolvedModel, campaign: str, home: Home) -> dict[str, Any]:
    """The base model as the root of all checkpoints, named by its fingerprint."""
    return {
        "id": model.fingerprint,
        "base_model": model.fingerprint,
        "kind": "base",
        "campaign": campaign,
        "path": home.relative(model.path),
        "config": {},
        "code_version": source_version(),
        "record": json.dumps({"name": model.name, "fingerprint": model.fingerprint}),
    }


def judge(rollouts: Sequence[Rollout], campaign: Campaign) -> tuple[list[Reward], list[Advantage]]:
    """Rewards and advantages of a batch."""
    groups: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        groups.setdefault(rollout.group_id, []).append(rollout)
    rewards = [
        reward
        for _, group in sorted(groups.items())
        for reward in score_group(
            [measures_of(rollout, campaign.rewards) for rollout in group],
            preference_or_default(group[0].preference, campaign.rewards),
        )
    ]
    stops = {rollout.id: rollout.stop_reason for rollout in rollouts}
    untrainable = {rollout.id for rollout in rollouts if not rollout.trainable}
    return rewards, advantages_of(rewards, stops, campaign.rewards, untrainable)


def carries_signal(rollouts: Sequence[Rollout], campaign: Campaign) -> bool:
    """Whether an update could learn anything from these rollouts."""
    return any(not advantage.left_out for advantage in judge(rollouts, campaign)[1])


def score(rollouts: Sequence[Rollout], campaign: Campaign, folder: Path) -> Scored:
    """`judge`, and the Parquet file that the update reads. It is named by its content: no finished job answers for
    other rewards. Raises NothingToTrainOn."""
    rewards, advantages = judge(rollouts, campaign)
    rows = training_rows(rollouts, [advantage for advantage in advantages if not advantage.left_out])
    if not rows:
        raise NothingToTrainOn(
            f"none of {len(rollouts)} rollouts carries a signal: {counts(advantages)}. Roll out more tasks, or tasks "
            "that the policy sometimes solves (campaign: tasks_per_iteration, redraws, rollouts.samples_per_task)."
        )
    told = reward_rows(rewards, advantages)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{content_id(told)}.parquet"
    write_training_rows(path, rows)
    return Scored(rewards, told, counts(advantages), path)


def run_job(
    context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, job: WarmStartJob | UpdateJob, home: Home
) -> TrainingResult:
    """Run the job in a process of its own, so that its memory is returned. A finished job is not run again."""
    folder = home.jobs / f"{job.kind}-{job.identity[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / RESULT
    if not result.exists():
        (folder / "job.json").write_bytes(job.canonical())
        command = [sys.executable, "-m", "trainer.process", str(folder / "job.json")]
        pipes.run(command=command, context=context, cwd=str(REPOSITORY), env=ending_with_us())
    finished = TrainingResult.model_validate_json(result.read_bytes())
    return finished.model_copy(update={"checkpoint_path": str(home.artefacts / finished.checkpoint_id)})


def served(warehouse: Warehouse, batch: Batch) -> ServedPolicy:
    """The policy that a batch of `base_policy`, `warm_policy` or `checkpoint` holds. Raises `NoAdapter`."""
    row = warehouse.read_batch(batch.batch_id, "checkpoints").to_dicts()[0]
    if row["kind"] == "base":
        return ServedPolicy(policy_id=row["id"], adapter_path=None)
    if row["path"] is None:
        raise NoAdapter(
            f"checkpoint {row['id']}, {batch.asset}[{batch.partition}]: the warehouse names no folder of its adapter. "
            f"Materialize {batch.asset}[{batch.partition}] again."
        )
    adapter = Home.here().artefacts / Path(row["path"]).name  # older rows name the folder where the home was then
    return ServedPolicy(policy_id=row["id"], adapter_path=str(adapter))


def checkpoint_tables(
    result: TrainingResult,
    campaign: str,
    iteration: int | None,
    job: WarmStartJob | UpdateJob,
    parent_id: str,
    *,
    rollouts_batch: Batch | None = None,
    fates: dict[str, int] | None = None,
) -> tuple[str, dict[str, list[dict[str, Any]]]]:
    """(update id, rows of `updates` and `checkpoints`) of a finished job."""
    update_id = update_identity(result.checkpoint_id, campaign, iteration)
    config = job.config.model_dump(mode="json")
    last = result.steps[-1] if result.steps else {}
    update = {
        "id": update_id,
        "campaign": campaign,
        "iteration": iteration,
        "kind": "grpo" if job.kind == "update" else job.kind,
        "parent_checkpoint": parent_id,
        "checkpoint_id": result.checkpoint_id,
        "loss": last.get("loss"),
        "grad_norm": last.get("grad_norm"),
        "n_tokens": result.trained_tokens,
        "n_rollouts": result.n_rows,
        "counts": fates or {},
        "statistics": list(result.steps),
        "seconds": result.seconds,
        "config": config,
        "seed": job.seed,
    }
    checkpoint = {
        "id": result.checkpoint_id,
        "parent_id": parent_id,
        "base_model": job.base_model_fingerprint,
        "kind": job.kind,
        "campaign": campaign,
        "iteration": iteration,
        "rollouts_batch_id": rollouts_batch.batch_id if rollouts_batch else None,
        "config": config,
        "seed": job.seed,
        "code_version": job.code_version,
        "path": stored_path(result),
        "adapter_sha256": result.manifest.adapter_sha256,
        "record": result.manifest.canonical(),
    }
    return update_id, {"updates": [update], "checkpoints": [checkpoint]}


def update_identity(checkpoint_id: str, campaign: str, iteration: int | None) -> str:
    """The id of the update that made a checkpoint; the iteration is None for a warm start."""
    return content_id(["update", checkpoint_id, campaign, iteration])


def stored_path(result: TrainingResult) -> str:
    """The checkpoint's folder from the home on."""
    return f"artefacts/{Path(result.checkpoint_path).name}"


def facts(result: TrainingResult) -> dict[str, Any]:
    """The figures of a finished job that stand at the top of an asset's page."""
    return {
        "checkpoint": result.checkpoint_id,
        "path": dg.MetadataValue.path(stored_path(result)),
        "adapter_sha256": result.manifest.adapter_sha256,
        "rows": result.n_rows,
        "trained_tokens": result.trained_tokens,
        "seconds": result.seconds,
        "peak_memory_mib": result.peak_memory_mib,
        "manifest": dg.MetadataValue.json(result.manifest.model_dump(mode="json")),
    }
