"""A campaign: what is trained on which domains, with which settings. One YAML file each in `campaigns/`."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from envs.record import Record
from trainer.jobs import EvaluationConfig, RewardConfig, RolloutConfig, UpdateConfig, WarmStartConfig

FOLDER = Path(__file__).parent / "campaigns"


class CampaignError(ValueError):
    """A campaign cannot be used: what, where, remedy."""


class EngineConfig(Record):
    """The vLLM server of the policy."""

    max_model_len: int = Field(2048, ge=256)
    max_num_seqs: int = Field(64, ge=1)
    kv_cache_gib: int = Field(2, ge=1)
    adapters: Literal["auto", "merged", "served"] = "auto"
    """`served` loads adapters into a server of the base model; `merged` gives each policy a server of its own, with
    the adapter folded into float32 weights. `auto`: merged on a processor if the weights allow it, else served."""


class Campaign(Record):
    """Settings of one training campaign. Everything has a default that works on two processor cores."""

    domains: tuple[str, ...] = Field(min_length=1)
    policy: str = "smollm2-135m-instruct"
    """A packaged model, a folder, or a hub id."""
    revision: str | None = None
    """Of a hub id."""
    max_calls: int | None = Field(None, ge=1)
    """Tasks with more golden calls are left out of the dataset: a small policy learns nothing from them."""
    tasks_per_iteration: int = Field(8, ge=1)
    """Training tasks rolled out per iteration; each makes one group."""
    redraws: int = Field(2, ge=0)
    """How often an iteration draws as many tasks more, when no group it has rolled out carries a signal."""
    seed: int = Field(0, ge=0)
    engine: EngineConfig = EngineConfig()
    warm_start: WarmStartConfig = WarmStartConfig()
    rollouts: RolloutConfig = RolloutConfig()
    rewards: RewardConfig = RewardConfig()
    update: UpdateConfig = UpdateConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


def campaign_names() -> list[str]:
    """Every campaign with a file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_campaign(name: str) -> Campaign:
    """The campaign `campaigns/<name>.yaml`. Raises CampaignError naming the file and the field."""
    file = FOLDER / f"{name}.yaml"
    if not file.is_file():
        raise CampaignError(f"campaign '{name}' is unknown. Known: {', '.join(campaign_names())}; or write {file}.")
    try:
        return Campaign.model_validate(yaml.safe_load(file.read_text()))
    except (ValidationError, yaml.YAMLError) as error:
        raise CampaignError(f"{file}: {error}") from error


def iteration_key(campaign: str, iteration: int) -> str:
    """The partition of one iteration: `demo-0003`."""
    return f"{campaign}-{iteration:04d}"


def parse_iteration_key(key: str) -> tuple[str, int]:
    """Campaign and number of a partition. Raises CampaignError."""
    campaign, _, number = key.rpartition("-")
    if not campaign or not number.isdigit():
        raise CampaignError(f"iteration '{key}' is not of the form <campaign>-0000.")
    return campaign, int(number)
