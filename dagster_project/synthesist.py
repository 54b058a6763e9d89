"""The synthesist as a setting: which models write domains and wording, where they are served, what they may cost."""

import json
import os
from collections.abc import Mapping
from typing import Any, Literal

import dagster as dg
from pydantic import ValidationError

from dagster_project.home import Home
from generators.discovery import RECORDING, domain_folder
from generators.prompts import FOLDER as PROMPTS
from generators.stage import SynthesistNotSet
from serving.budget import Budget
from serving.credentials import is_variable, kept_apart, with_credentials
from serving.endpoint import Endpoint, Price, ServedModel, Waits
from serving.flags import run_batch_command
from serving.ledger import Ledger
from serving.models import resolve_model
from serving.request_format import REFERENCE, VLLM, RequestFormat
from serving.vllm import VllmConfig, VllmServer

DEFAULT_MODEL = "qwen2.5-coder-1.5b-instruct"


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
    requests: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    """How its requests differ from the reference interface: the fields of `serving.request_format.RequestFormat`."""
    timeout_s: float = 600.0
    """Of one attempt of a request, to the last byte of the answer."""
    total_s: float = 900.0
    """Of a request with all attempts and the waits between them."""


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
    requests: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    timeout_s: float = 600.0
    total_s: float = 900.0
    stages: dict[str, StageModel] = {}  # noqa: RUF012 (pydantic copies it)
    """Name of a prompt template, such as `phrases` → the model that answers it instead."""
    max_calls: int = 5000
    max_tokens: int = 5_000_000
    max_usd: float | None = None
    max_failure_share: float = 0.5
    """Of the last `failure_window` requests; above it a run stops."""
    failure_window: int = 20

    def __init__(self, **settings: Any) -> None:
        """Dagster writes settings into its history: credentials of addresses stay in this process's memory."""
        stages = settings.get("stages")
        if isinstance(stages, dict):
            settings["stages"] = {name: _without_credentials(stage) for name, stage in stages.items()}
        super().__init__(**_without_credentials(settings))

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
    price, waits = _price(setting), _waits(setting)
    if setting.base_url:
        key = os.environ.get(setting.api_key_variable, "")
        address = with_credentials(setting.base_url)
        return ServedModel(
            fingerprint=f"{setting.model}@{setting.base_url}",
            endpoint=Endpoint(base_url=address, model=setting.model, api_key=key or "none"),
            former_fingerprints=() if address == setting.base_url else (f"{setting.model}@{address}",),
            price=price,
            waits=waits,
            requests=_request_format(setting, REFERENCE),
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
        waits=waits,
        requests=_request_format(setting, VLLM),
        name=setting.model,
        batch_command=run_batch_command(config),
    )


def _without_credentials(setting: Any) -> Any:
    """A setting of a model whose address is in its public form. Raises SynthesistNotSet for a key in its place."""
    if isinstance(setting, StageModel):
        return StageModel(**_without_credentials(setting.model_dump()))
    if not isinstance(setting, dict):
        return setting
    if not is_variable(str(setting.get("api_key_variable", "ENVLOOM_API_KEY")) or "ENVLOOM_API_KEY"):
        raise SynthesistNotSet(
            "api_key_variable is no name of an environment variable. Put the key into a variable, and write that "
            "variable's name, such as ENVLOOM_API_KEY."
        )
    address = setting.get("base_url")
    return setting | {"base_url": kept_apart(address)} if isinstance(address, str) else setting


def _price(setting: StageModel) -> Price | None:
    if setting.input_usd_per_mtok is None or setting.output_usd_per_mtok is None:
        if setting.input_usd_per_mtok != setting.output_usd_per_mtok:
            raise SynthesistNotSet(
                f"{setting.model} has only one of input_usd_per_mtok and output_usd_per_mtok. Set both, or none."
            )
        return None
    return Price(input_usd_per_mtok=setting.input_usd_per_mtok, output_usd_per_mtok=setting.output_usd_per_mtok)


def _waits(setting: StageModel) -> Waits:
    try:
        return Waits(timeout_s=setting.timeout_s, total_s=setting.total_s)
    except ValidationError as error:
        raise SynthesistNotSet(f"{setting.model}: {_first(error)}. Use seconds above 0.") from error


def _request_format(setting: StageModel, default: RequestFormat) -> RequestFormat:
    try:
        return RequestFormat.model_validate({**default.model_dump(), **setting.requests})
    except ValidationError as error:
        raise SynthesistNotSet(
            f"{setting.model}: requests.{_first(error)}. Its fields are {', '.join(RequestFormat.model_fields)}."
        ) from error


def _first(error: ValidationError) -> str:
    """The first problem, with the field it is about."""
    problem = error.errors()[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"


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
        settings = json.loads(
            variables.get("ENVLOOM_SETTINGS") or "{}", object_pairs_hook=_distinct, parse_constant=_refuse_constant
        )
        _check_names("the whole", settings, Synthesist)
        _check_names("stages", settings.get("stages", {}), None)
        for stage, setting in settings.get("stages", {}).items():
            _check_names(f"stages.{stage}", setting, StageModel)
        Synthesist(**{**found, **settings})
    except (ValueError, TypeError, RecursionError, dg.DagsterInvalidConfigError) as error:
        raise SynthesistNotSet(
            f"ENVLOOM_SETTINGS cannot be used: {_reason(error)}. It is a JSON object of settings of the synthesist, "
            'such as {"stages": {"phrases": {"model": "…", "base_url": "…", "api_key_variable": "…"}}}.'
        ) from None  # the cause quotes the settings
    return {**found, **settings}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if doubled := [key for key in keys if keys.count(key) > 1]:
        raise ValueError(f"'{doubled[0][:40]}' is there twice")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _reason(error: Exception) -> str:
    """The error without the values it is about: one of them may be a key in the wrong place."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
    if isinstance(error, dg.DagsterInvalidConfigError):
        return "a setting has a value of another type"
    return str(error)


def _check_names(where: str, given: object, settings: type[Synthesist | StageModel] | None) -> None:
    """Dagster ignores names it does not know where settings are made in Python, and a typing error would go unseen."""
    if not isinstance(given, dict):
        raise ValueError(f"{where} must be an object")
    if settings is not None and (unknown := sorted(set(given) - set(settings.model_fields))):
        raise ValueError(f"{where}: there is no setting {unknown[0]}, only {', '.join(settings.model_fields)}")
