"""What assets are given: the project's folders, the warehouse, the synthesist and the policy's engine."""

from functools import cached_property
from typing import Literal

import dagster as dg

from dagster_project.campaign import Campaign
from dagster_project.home import Home
from generators.brief import domain_folder
from serving.endpoint import Endpoint
from serving.ledger import Ledger, read_header
from serving.models import resolve_model
from serving.vllm import VllmConfig, VllmServer
from trainer.conversation import load_tokenizer
from trainer.engine import EngineFolders, PolicyEngine, merges
from warehouse.warehouse import Warehouse

RECORDING = "calls.jsonl"
"""The recorded synthesis in a domain's folder."""


class SynthesistNotSet(RuntimeError):
    """No way to answer a synthesis call: which setting is missing."""


class Workshop(dg.ConfigurableResource):
    """The project's folders and its warehouse."""

    @cached_property
    def home(self) -> Home:
        return Home.here().prepare()

    def warehouse(self) -> Warehouse:
        return Warehouse(self.home.warehouse, self.home.parts)


class Synthesist(dg.ConfigurableResource):
    """The model that writes domains and wording.

    `recorded` answers from the recording in the domain's folder, and a question that is not in it is an error;
    `live` asks `model`: served here by vLLM, or by any OpenAI-compatible endpoint when `base_url` is given.
    """

    mode: Literal["recorded", "live"] = "recorded"
    model: str = "qwen2.5-coder-1.5b-instruct"
    base_url: str = ""
    api_key_variable: str = "ENVLOOM_API_KEY"
    """The environment variable that holds the key of `base_url`."""
    max_calls: int = 5000
    max_tokens: int = 5_000_000

    def ledger(self, domain: str, home: Home) -> Ledger:
        """The ledger that answers for one domain. Raises SynthesistNotSet if there is neither recording nor model."""
        if self.mode == "live":
            return self._live(home)
        recording = domain_folder(domain) / RECORDING
        if not recording.is_file():
            raise SynthesistNotSet(
                f"domain {domain} has no recording ({recording}): ask a model instead, with `make demo LIVE=1` or the "
                "resource setting synthesist.mode = live."
            )
        # A ledger of its own per recording: answers of a live model must not mix with what ships.
        ledger = Ledger(home.state / f"recorded-{domain}.sqlite", read_header(recording)["model"], "replay")
        ledger.import_extract(recording)
        return ledger

    def _live(self, home: Home) -> Ledger:
        import os

        budget = {"max_calls": self.max_calls, "max_tokens": self.max_tokens}
        if self.base_url:
            key = os.environ.get(self.api_key_variable, "")
            endpoint = Endpoint(base_url=self.base_url, model=self.model, api_key=key or "none")
            return Ledger(home.ledger, f"{self.model}@{self.base_url}", "live", endpoint, **budget)
        model = resolve_model(self.model, home.models)
        config = VllmConfig(model=str(model.path), served_name=self.model, max_model_len=3072, max_num_seqs=64)
        server = VllmServer(config, home.logs, home.state)
        return Ledger(home.ledger, model.fingerprint, "live", server.start, **budget)


class Engines(dg.ConfigurableResource):
    """The engine of a campaign's policy."""

    idle_timeout_s: float = 120.0
    """How long a policy's server waits for the next asset that wants it."""

    def policy(self, campaign: Campaign, home: Home) -> PolicyEngine:
        """The engine of the campaign's base model; vLLM starts at the first question."""
        model = resolve_model(campaign.policy, home.models, campaign.revision)
        config = VllmConfig(
            model=str(model.path),
            served_name=model.name,
            max_model_len=campaign.engine.max_model_len,
            max_num_seqs=campaign.engine.max_num_seqs,
            kv_cache_gib=campaign.engine.kv_cache_gib,
            max_lora_rank=max(8, campaign.warm_start.lora.r),
        )
        return PolicyEngine(
            config,
            model,
            load_tokenizer(model.path),
            EngineFolders(logs=home.logs, state=home.state, jobs=home.jobs, merged=home.merged),
            merge=merges(model, campaign.engine.adapters),
            idle_timeout_s=self.idle_timeout_s,
        )


def resources() -> dict[str, object]:
    """The resources of the code location, as the environment sets them."""
    import os

    live = os.environ.get("ENVLOOM_LIVE", "") not in ("", "0")
    synthesist = Synthesist(
        mode="live" if live else "recorded",
        model=os.environ.get("ENVLOOM_SYNTHESIST", "qwen2.5-coder-1.5b-instruct"),
        base_url=os.environ.get("ENVLOOM_BASE_URL", ""),
    )
    return {
        "workshop": Workshop(),
        "synthesist": synthesist,
        "engines": Engines(),
        "pipes": dg.PipesSubprocessClient(),
    }
