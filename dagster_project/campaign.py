"""A campaign: what is trained on which domains, with which settings. One YAML file each.

They lie in `campaigns/` of the project's home, and beside this file.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from dagster_project.home import Home
from envs.experts import EndpointProfile
from envs.record import Record
from generators.brief import DomainError
from generators.discovery import domain_folder
from generators.fields import MAX_INTEGER, FieldsInvalid, validated
from generators.splits import Unseen
from generators.yaml_documents import YamlUnreadable, misnamed, read_yaml, yaml_text
from serving.credentials import is_variable, public_address
from trainer.difficulty import DifficultyConfig
from trainer.settings import EvaluationConfig, RewardConfig, RolloutConfig, UpdateConfig, WarmStartConfig

FOLDER = Path(__file__).parent / "campaigns"
NAME = r"\w(?:[\w +-]|\.(?!\.)){0,79}"
"""A whole name of a campaign: it is part of Dagster's partition keys and of names of folders."""


class CampaignError(ValueError):
    """A campaign cannot be used: what, where, remedy."""


class EngineConfig(Record):
    """The vLLM server of the policy, or servers elsewhere."""

    max_model_len: int = Field(2048, ge=256)
    max_num_seqs: int = Field(64, ge=1)
    kv_cache_gib: int = Field(2, ge=1)
    adapters: Literal["auto", "merged", "served"] = "auto"
    """`served` loads adapters into a server of the base model; `merged` gives each policy a server of its own, with
    the adapter folded into float32 weights. `auto`: merged on a processor if the weights allow it, else served."""
    base_urls: tuple[str, ...] = ()
    """Servers that run elsewhere, with the version: `http://gpu-1:8000/v1`; none is started here then. Each serves the
    base model under the policy's name and loads adapters from the paths that they have here."""
    api_key_variable: str = ""
    """The environment variable that holds the key of `base_urls`; empty for servers without one."""
    request_timeout_s: float = Field(600.0, gt=0)
    """After which a completion that does not come is asked for again; after two, the engine counts as hanging and is
    restarted, or waited for where it runs elsewhere."""


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
    held_out: tuple[str, ...] = ()
    """JSONL files of requests that nothing trained on may repeat, in `held_out/` of the project's home or in the
    project. Every file in `held_out/` counts anyway, for every campaign and every proof."""
    held_out_domains: tuple[str, ...] = ()
    """Domains of this campaign that are never trained on: split `unseen_domain`."""
    held_out_tools: tuple[str, ...] = ()
    """`name` or `domain.name`. Tasks that need one are never trained on (split `unseen_tool`); others that only offer
    one are left out."""
    held_out_prices: bool = False
    """Whether tasks in one of eight regions of token prices are never trained on: split `unseen_prices`."""
    difficulty: DifficultyConfig | None = None
    """Measures how hard training tasks are for a reference policy, to draw more often those it solves sometimes."""
    seed: int = Field(0, ge=0, le=MAX_INTEGER)
    engine: EngineConfig = EngineConfig()
    warm_start: WarmStartConfig = WarmStartConfig()
    rollouts: RolloutConfig = RolloutConfig()
    rewards: RewardConfig = RewardConfig()
    update: UpdateConfig = UpdateConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def unseen(self) -> Unseen:
        """What is kept from training to be evaluated on."""
        return Unseen(domains=self.held_out_domains, tools=self.held_out_tools, prices=self.held_out_prices)

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> "Campaign":
        if unknown := set(self.held_out_domains) - set(self.domains):
            raise ValueError(f"held_out_domains: {', '.join(sorted(unknown))}: add them to `domains` too")
        if set(self.held_out_domains) == set(self.domains):
            raise ValueError("held_out_domains names every domain; leave one to train on")
        return self

    @model_validator(mode="after")
    def _every_engine_is_reached_and_used(self) -> "Campaign":
        workers, urls = self.rollouts.workers, self.engine.base_urls
        if workers.address and not urls:
            raise ValueError(
                "rollouts.workers.address: a server started here answers this machine only; name servers that the "
                "cluster reaches in engine.base_urls"
            )
        if len(urls) > workers.count:
            raise ValueError(
                f"engine.base_urls: {len(urls)} servers for {workers.count} workers; raise rollouts.workers.count"
            )
        if urls and self.engine.adapters == "merged":
            raise ValueError("engine.adapters: servers of engine.base_urls take adapters; set it to `served`")
        return self

    @model_validator(mode="after")
    def _no_endpoint_holds_a_credential(self) -> "Campaign":
        """A campaign is recorded, bundled and shown."""
        for field, address, variable in self._endpoints():
            if public_address(address) != address:
                raise ValueError(
                    f"{field}: the address holds a credential (a user, a password or a query), and campaigns are "
                    "recorded. Write scheme, host and path, put the key into an environment variable, and name that "
                    "variable in api_key_variable"
                )
            if variable and not is_variable(variable):
                raise ValueError(
                    f"{field}: its api_key_variable is no name of an environment variable. Put the key into "
                    "a variable, and write that variable's name, such as POLICY_KEY"
                )
        return self

    def _endpoints(self) -> Iterator[tuple[str, str, str]]:
        """Field, address and variable of every endpoint."""
        for address in self.engine.base_urls:
            yield "engine.base_urls", address, self.engine.api_key_variable
        user = self.rollouts.user
        yield "rollouts.user.base_url", user.base_url, user.api_key_variable
        for field, toolbox in (("rollouts", self.rollouts.toolbox), ("evaluation", self.evaluation.toolbox)):
            for expert in toolbox.pool if toolbox else ():
                if isinstance(expert, EndpointProfile):
                    yield f"{field}.toolbox.pool.{expert.name}.base_url", expert.base_url, expert.api_key_variable

    @model_validator(mode="after")
    def _unseen_prices_are_those_of_the_tasks(self) -> "Campaign":
        drawn = self.evaluation.rollout_config(self.rollouts).toolbox
        if "unseen_prices" in self.evaluation.unseen and drawn.prices == "drawn":
            raise ValueError("evaluation.unseen.unseen_prices: the toolbox draws any price; set its prices to `task`")
        return self

    @model_validator(mode="after")
    def _what_is_held_out_is_not_drawn_again(self) -> "Campaign":
        drawn = self.rollouts.toolbox
        if self.held_out_prices and drawn.prices == "drawn":
            raise ValueError("held_out_prices: rollouts.toolbox.prices draws any price; set it to `task`")
        if self.held_out_tools and (drawn.unneeded_tools is not None or drawn.distractors):
            raise ValueError(
                "held_out_tools: rollouts.toolbox.unneeded_tools and distractors draw any tool; leave them out"
            )
        return self


def campaign_names() -> list[str]:
    """Every campaign with a file and a name that can be one, sorted."""
    return sorted(name for name in _stems() if re.fullmatch(NAME, name))


def unusable_names() -> dict[str, str]:
    """Files of campaigns whose name cannot be one: the name, with the reason and the remedy."""
    problems = {name: _no_name(name) for name in sorted(_stems()) if not re.fullmatch(NAME, name)}
    for file in (file for folder in _folders() for file in misnamed(folder, "*.yaml")):
        problems[file.name] = f"{file}: the file of a campaign ends in .yaml. Rename it."
    return problems


def _stems() -> set[str]:
    """Names of the files that look like campaigns; hidden ones, as editors write them, do not."""
    files = [file for folder in _folders() for file in folder.glob("*.yaml")]
    return {file.stem for file in files if not file.name.startswith(".") and not file.is_dir()}


def _folders() -> tuple[Path, Path]:
    return Home.here().campaigns, FOLDER


def _no_name(name: str) -> str:
    return (
        f"campaign '{name[:100]}': a name has at most 80 letters, digits, spaces and `_+-.`, with no two dots together "
        "and none at its beginning. Rename the file."
    )


def load_campaign(name: str) -> Campaign:
    """The campaign `campaigns/<name>.yaml`: the home's before ours. Raises CampaignError naming file and field.

    No message quotes a value of the file: it may hold a key by mistake.
    """
    if not re.fullmatch(NAME, name):
        raise CampaignError(_no_name(name))
    file = _file(name)
    try:
        content = read_yaml(file)
    except YamlUnreadable as error:
        raise CampaignError(f"{file}: {error}") from None
    if not isinstance(content, dict):
        raise CampaignError(f"{file}: must be a mapping of settings, such as `domains: [library]`.")
    try:
        return validated(Campaign, content)
    except FieldsInvalid as error:
        raise CampaignError("\n".join(f"{file}: {problem.sentence}" for problem in error.problems)) from None


def require_domains(name: str, campaign: Campaign) -> None:
    """Raise CampaignError, naming file and field, unless there is a usable domain of every name in the campaign."""
    fields = {"domains": campaign.domains, "held_out_domains": campaign.held_out_domains}
    for field, domain in ((field, domain) for field, domains in fields.items() for domain in domains):
        try:
            domain_folder(domain)
        except DomainError as error:
            raise CampaignError(f"{_file(name)}: {field}: {error}") from error


def _file(name: str) -> Path:
    """The file of a campaign, maybe a broken one. Raises CampaignError if there is none."""
    own = Home.here().campaigns / f"{name}.yaml"
    for file in (own, FOLDER / own.name):
        if os.path.lexists(file):
            return file
    if problem := next((why for file, why in unusable_names().items() if Path(file).stem == name), None):
        raise CampaignError(problem)
    raise CampaignError(f"campaign '{name}' is unknown. Known: {', '.join(campaign_names())}; or write {own}.")


def reseeded(name: str, seed: int) -> str:
    """The campaign under another seed, as a campaign of its own in the home, `<name>-seed-<seed>`; its name.

    Raises CampaignError, also if there is one of that name with other settings: what it has trained stays explained.
    """
    if not 0 <= seed <= MAX_INTEGER:
        raise CampaignError(f"seed: must lie between 0 and {MAX_INTEGER}.")
    wanted = load_campaign(name).model_copy(update={"seed": seed})
    own = f"{name}-seed-{seed}"
    file = Home.here().campaigns / f"{own}.yaml"
    if own not in campaign_names():
        file.parent.mkdir(parents=True, exist_ok=True)
        settings = wanted.model_dump(mode="json", exclude_unset=True)
        file.write_text(f"# {name}, with another seed.\n{yaml_text(settings)}", encoding="utf-8")
    if load_campaign(own) != wanted:
        raise CampaignError(f"{file}: its settings are no longer those of {name}. Delete it, or choose another seed.")
    return own


def iteration_key(campaign: str, iteration: int) -> str:
    """The partition of one iteration: `demo-0003`."""
    return f"{campaign}-{iteration:04d}"


def parse_iteration_key(key: str) -> tuple[str, int]:
    """Campaign and number of a partition. Raises CampaignError."""
    campaign, _, number = key.rpartition("-")
    if not campaign or not number.isdigit():
        raise CampaignError(f"iteration '{key}' is not of the form <campaign>-0000.")
    return campaign, int(number)
