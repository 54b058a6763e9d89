"""The synthesist as a setting: which models write domains and wording, where they are served, what they may cost."""

import json
import os
from collections.abc import Mapping
from typing import Any, Literal

import dagster as dg
from pydantic import ValidationError

from dagster_project.home import Home
from generators.discovery import domain_folder
from generators.prompts import FOLDER as PROMPTS
from serving.budget import Budget
from serving.endpoint import Endpoint, Price, ServedModel
from serving.flags import run_batch_command
from serving.ledger import Ledger
from serving.models import resolve_model
from serving.vllm import VllmConfig, VllmServer

RECORDING = "calls.jsonl"
"""The recorded synthesis in a domain's folder."""
DEFAULT_MODEL = "qwen2.5-coder-1.5b-instruct"


class SynthesistNotSet(RuntimeError):
    """No way to answer a synthesis call: which setting is missing or wrong."""


class StageModel(dg.Config):
    """The model of one stage: a packaged model, a folder or a hub id served here, or one behind `base_url`."""

    model: str
    base_url: str = ""
    """Of any OpenAI-compatible endpoint, with the version: "https://example.com/v1". Empty: vLLM, started here."""
    api_key_variable: str = "ENVLOOM_API_KEY"
    """The environment variable that holds the key of `base_url`."""
    input_usd_per_mtok: float | None = None
    """Price of a million prompt tokens; None: not known, so that its calls have no cost."""
    output_usd_per_mtok: float | None = None


class Synthesist(dg.ConfigurableResource):
    """The model that writes domains and wording, and those of the stages that have one of their own.

    `recorded` answers from the recording in the domain's folder, and a question that is not in it is an error;
    `live` asks `model`: served here by vLLM, or by any OpenAI-compatible endpoint when `base_url` is given; `batch`
    writes what is not answered yet into files and ends the run until their answers are imported.
    """

    mode: Literal["recorded", "live", "batch"] = "recorded"
    model: str = DEFAULT_MODEL
    base_url: str = ""
    api_key_variable: str = "ENVLOOM_API_KEY"
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    stages: dict[str, StageModel] = {}  # noqa: RUF012 (pydantic copies it)
    """Name of a prompt template, such as `phrases` → the model that answers it instead."""
    max_calls: int = 5000
    max_tokens: int = 5_000_000
    max_usd: float | None = None
    max_failure_share: float = 0.5
    """Of the last `failure_window` requests; above it a run stops."""
    failure_window: int = 20

    def ledger(self, domain: str, home: Home) -> Ledger:
        """The ledger that answers for one domain. Raises SynthesistNotSet if there is neither recording nor model."""
        if self.mode != "recorded":
            return self._asking(self.mode, home)
        recording = domain_folder(domain) / RECORDING
        if not recording.is_file():
            raise SynthesistNotSet(
                f"domain {domain} has no recording ({recording}): ask a model instead, with `make demo LIVE=1` or the "
                "resource setting synthesist.mode = live."
            )
        # A ledger of its own per recording: answers of a live model must not mix with what ships.
        return Ledger.of_recording(recording, home.state / f"recorded-{domain}.sqlite")

    def _asking(self, mode: Literal["live", "batch"], home: Home) -> Ledger:
        known = sorted(path.stem for path in PROMPTS.glob("*.j2"))
        if unknown := sorted(set(self.stages) - set(known)):
            raise SynthesistNotSet(f"synthesist.stages: there is no stage {unknown[0]}. Use {', '.join(known)}.")
        return Ledger(
            home.ledger,
            _served(self._default(), home),
            mode,
            stages={stage: _served(setting, home) for stage, setting in self.stages.items()},
            budget=Budget(
                max_calls=self.max_calls,
                max_tokens=self.max_tokens,
                max_usd=self.max_usd,
                max_failure_share=self.max_failure_share,
                failure_window=self.failure_window,
            ),
        )

    def _default(self) -> StageModel:
        return StageModel(**{name: getattr(self, name) for name in StageModel.model_fields})


def _served(setting: StageModel, home: Home) -> ServedModel:
    price = _price(setting)
    if setting.base_url:
        key = os.environ.get(setting.api_key_variable, "")
        return ServedModel(
            fingerprint=f"{setting.model}@{setting.base_url}",
            endpoint=Endpoint(base_url=setting.base_url, model=setting.model, api_key=key or "none"),
            price=price,
            name=setting.model,
            batch_command="python -m vllm.entrypoints.openai.run_batch --model "
            f"{setting.model} -i {{requests}} -o {{answers}}",
        )
    model = resolve_model(setting.model, home.models)
    config = VllmConfig(model=str(model.path), served_name=setting.model, max_model_len=3072, max_num_seqs=64)
    return ServedModel(
        fingerprint=model.fingerprint,
        endpoint=VllmServer(config, home.logs, home.state).start,
        price=price,
        name=setting.model,
        batch_command=run_batch_command(config),
    )


def _price(setting: StageModel) -> Price | None:
    if setting.input_usd_per_mtok is None or setting.output_usd_per_mtok is None:
        if setting.input_usd_per_mtok != setting.output_usd_per_mtok:
            raise SynthesistNotSet(
                f"{setting.model} has only one of input_usd_per_mtok and output_usd_per_mtok. Set both, or none."
            )
        return None
    return Price(input_usd_per_mtok=setting.input_usd_per_mtok, output_usd_per_mtok=setting.output_usd_per_mtok)


def synthesist_here(**settings: Any) -> Synthesist:
    """The synthesist as environment variables and `settings` say; the latter win.

    ENVLOOM_SYNTHESIST is the model, ENVLOOM_BASE_URL its endpoint, ENVLOOM_LIVE=1 the mode `live`; ENVLOOM_SETTINGS is
    a JSON object of any settings, among them `stages`. Raises SynthesistNotSet.
    """
    return Synthesist(**{**_from_environment(os.environ), **settings})


def _from_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mode": "live" if variables.get("ENVLOOM_LIVE", "") not in ("", "0") else "recorded",
        "model": variables.get("ENVLOOM_SYNTHESIST") or DEFAULT_MODEL,
        "base_url": variables.get("ENVLOOM_BASE_URL", ""),
    }
    try:
        told = json.loads(
            variables.get("ENVLOOM_SETTINGS") or "{}", object_pairs_hook=_distinct, parse_constant=_refuse_constant
        )
        _check_names("the whole", told, Synthesist)
        _check_names("stages", told.get("stages", {}), None)
        for stage, setting in told.get("stages", {}).items():
            _check_names(f"stages.{stage}", setting, StageModel)
        Synthesist(**{**found, **told})
    except (ValueError, TypeError, RecursionError) as error:
        problem = _without_values(error) if isinstance(error, ValidationError) else error
        raise SynthesistNotSet(
            f"ENVLOOM_SETTINGS cannot be used: {problem}. It is a JSON object of settings of the synthesist, such as "
            '{"stages": {"phrases": {"model": "…", "base_url": "…", "api_key_variable": "…"}}}.'
        ) from None
    return {**found, **told}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if doubled := [key for key in keys if keys.count(key) > 1]:
        raise ValueError(f"'{doubled[0][:40]}' is there twice")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _without_values(error: ValidationError) -> str:
    """The problems of settings by field. A value may be a key in the wrong field."""
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())


def _check_names(where: str, given: object, settings: type[Synthesist | StageModel] | None) -> None:
    """Dagster ignores names it does not know where settings are made in Python, and a typing error would go unseen."""
    if not isinstance(given, dict):
        raise ValueError(f"{where} must be an object")
    if settings is not None and (unknown := sorted(set(given) - set(settings.model_fields))):
        raise ValueError(f"{where}: there is no setting {unknown[0]}, only {', '.join(settings.model_fields)}")
