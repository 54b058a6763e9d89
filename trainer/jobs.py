"""What a training process is told to do and what it answers, as records. No torch here.

An asset fills a job in, `trainer.process` reads it; the settings in it are those of `trainer.settings`.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue, TypeAdapter

from envs.record import Record, content_id
from envs.toolbox import ToolboxConfig
from trainer.checkpoint import CheckpointManifest
from trainer.dialects.protocol import DialectName
from trainer.settings import UpdateConfig, WarmStartConfig

_PATHS = ("_path", "_dir")


class Job(Record):
    """What every training process needs to know. Paths are absolute; nothing else is read."""

    base_model_name: str
    base_model_path: str
    base_model_fingerprint: str
    parent_checkpoint_id: str | None = None
    parent_adapter_path: str | None = None
    seed: int = 0

    @property
    def identity(self) -> str:
        """The hash of the job, with the names of its files and not with their folders: a moved home has the same jobs.

        What the files hold is in their names, or named beside them.
        """
        settings = self.canonical_fields()
        paths = {name: Path(value).name for name, value in settings.items() if name.endswith(_PATHS) and value}
        return content_id(settings | paths)


class WarmStartJob(Job):
    """Examples are rendered in the process, from `tasks_path` and `environments_path` (JSON lists of the records)."""

    kind: Literal["warm_start"] = "warm_start"
    dialect: DialectName = "auto"
    toolbox: ToolboxConfig = ToolboxConfig()
    """Both as in `RolloutConfig`, so that examples look like rollouts."""
    tasks_path: str
    environments_path: str
    artefacts_dir: str
    batch_ids: tuple[str, ...] = ()
    code_version: str = ""
    config: WarmStartConfig = WarmStartConfig()


class UpdateJob(Job):
    """The input of `update`: base model, parent checkpoint, training rows, settings and seed.

    `rows_path` is the Parquet file that `trainer.rows.write_training_rows` writes. All paths are absolute.
    """

    kind: Literal["update"] = "update"
    rows_path: str
    artefacts_dir: str
    batch_ids: tuple[str, ...] = ()
    code_version: str = ""
    config: UpdateConfig = UpdateConfig()


class CanaryJob(Job):
    """The trainer's logprobs of `completion_ids` after `prompt_ids`; the caller compares (`trainer.canary`)."""

    kind: Literal["canary"] = "canary"
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int = Field(2, ge=1)


AnyJob: TypeAlias = Annotated[WarmStartJob | UpdateJob | CanaryJob, Field(discriminator="kind")]
ANY_JOB: TypeAdapter[WarmStartJob | UpdateJob | CanaryJob] = TypeAdapter(AnyJob)


class TrainingResult(Record):
    """What a warm start or an update leaves behind: a sealed checkpoint and what happened on the way."""

    kind: Literal["warm_start", "update"]
    checkpoint_id: str
    checkpoint_path: str
    """Folder that peft and vLLM load as an adapter."""
    manifest: CheckpointManifest
    steps: tuple[dict[str, JsonValue], ...]
    """One row of statistics per optimizer step."""
    n_rows: int
    trained_tokens: int
    seconds: float
    peak_memory_mib: float


class CanaryResult(Record):
    """The trainer's logprobs of the canary's completion, in nats."""

    kind: Literal["canary"] = "canary"
    logprobs: tuple[float, ...]
    seconds: float
