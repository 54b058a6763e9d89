"""What assets are given: the project's folders, the warehouse, the synthesist and the policy's engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import dagster as dg

from dagster_project.campaign import Campaign
from dagster_project.home import Home
from dagster_project.orphans import alive
from dagster_project.synthesist import Synthesist, synthesist_here
from serving.models import resolve_model
from serving.vllm import VllmConfig
from trainer.conversation import load_tokenizer
from trainer.engine import EngineFolders, PolicyEngine, merges
from trainer.experts import endpoint_at
from warehouse.warehouse import Warehouse

__all__ = ["Engines", "Synthesist", "Workshop", "resources"]


class Workshop(dg.ConfigurableResource):
    """The project's folders and its warehouse. Whoever has it says which run it executes, as long as it lives."""

    @cached_property
    def home(self) -> Home:
        return Home.here().prepare()

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Workshop"]:
        if context.run is None:  # a sensor's, which belongs to no run
            yield self
            return
        with alive(self.home.running, context.run.run_id):
            yield self

    def warehouse(self) -> Warehouse:
        return Warehouse(self.home.warehouse, self.home.parts)


class Engines(dg.ConfigurableResource):
    """The engine of a campaign's policy."""

    idle_timeout_s: float = 120.0
    """How long a policy's server waits for the next asset that wants it."""

    def policy(self, campaign: Campaign, home: Home) -> PolicyEngine:
        """The engine of the campaign's base model; vLLM starts at the first question. Raises KeyMissing."""
        model = resolve_model(campaign.policy, home.models, campaign.revision)
        settings = campaign.engine
        elsewhere = [endpoint_at(url, model.name, settings.api_key_variable) for url in settings.base_urls]
        config = VllmConfig(
            model=str(model.path),
            served_name=model.name,
            max_model_len=settings.max_model_len,
            max_num_seqs=settings.max_num_seqs,
            kv_cache_gib=settings.kv_cache_gib,
            max_lora_rank=max(8, campaign.warm_start.lora.r),
        )
        return PolicyEngine(
            config,
            model,
            load_tokenizer(model.path),
            EngineFolders(
                logs=home.logs, state=home.state, jobs=home.jobs, merged=home.merged, adapters=home.artefacts
            ),
            merge=not elsewhere and merges(model, settings.adapters),
            idle_timeout_s=self.idle_timeout_s,
            elsewhere=elsewhere,
            request_timeout_s=settings.request_timeout_s,
        )


def resources() -> dict[str, object]:
    """The resources of the code location, as the environment sets them."""
    return {
        "workshop": Workshop(),
        "synthesist": synthesist_here(),
        "engines": Engines(),
        "pipes": dg.PipesSubprocessClient(),
    }
