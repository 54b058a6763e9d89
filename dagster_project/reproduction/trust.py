"""What making a stranger's history again runs, reads and contacts here: listed, and refused unless it is allowed.

A bundle's campaign may name addresses, environment variables and models of this machine. None is used because a bundle
says so: the reader repeats each on his own command line.
"""

import hashlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster_project.home import Home
from dagster_project.recorded_campaign import recorded_settings
from dagster_project.reproduction.plan import Mode
from dagster_project.reproduction.scratch import Inputs, hooks_of
from serving.errors import ServingError
from serving.models import fingerprint_here, is_hub_id
from warehouse.queries.checkpoint_history import Target
from warehouse.warehouse import Batch, Warehouse

ADDRESSES = ("base_url", "base_urls", "address")
VARIABLES = ("api_key_variable", "header_variables")
MODELS = ("policy", "difficulty.policy")
"""Settings of a campaign that reach out of the scratch project, by name and, of models, by place."""
SAMPLING = ("engine.", "rollouts.workers.")
"""Places of settings that only sampling anew uses."""
_WITH_HOOKS = ("brief", "environment", "candidate_tasks")
_TRAINED = ("warm_policy", "checkpoint")
_SAMPLED = ("difficulty", "baseline", "rollouts", "evaluation")
_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s]+@")


class NotTrusted(PermissionError):
    """A bundle needs more than the reader has allowed: what, and how to allow it. Nothing of it was run."""


@dataclass(frozen=True)
class Permission:
    """What the reader of a bundle allows on his command line."""

    trust: bool = False
    """Whether its Python, its training and its rollouts may run."""
    values: frozenset[str] = frozenset()
    """Addresses, environment variables and models that it may name."""


def require_permission(
    recorded: Home, target: Target, batches: Sequence[Batch], mode: Mode, inputs: Inputs, permission: Permission
) -> list[str]:
    """What will run when these batches of a target are made again, in sentences. Raises NotTrusted.

    With `present` inputs campaigns and domains are the reader's own.
    """
    python = _python(recorded, target, batches) if inputs == "recorded" else ()
    lines = [*python, *_running(batches, mode)]
    wanted = _wanted(recorded, batches, mode) if inputs == "recorded" else {}
    if not permission.trust:
        shown = [
            *lines,
            *(f"uses, if allowed: {_printed(place)} = {_printed(value)}" for value, place in wanted.items()),
        ]
        raise NotTrusted(
            "\n  ".join(["Making an archive again runs what its author put into it, as you. This one:", *shown])
            + "\nNothing was run. Look at it with --mode verify, or add --trust if you trust its author."
        )
    if refused := {value: place for value, place in wanted.items() if value not in permission.values}:
        raise NotTrusted(
            "\n  ".join(
                [
                    "The archive names addresses, environment variables or models of its author's choice:",
                    *(f"{_printed(place)}: {_option(value)}" for value, place in refused.items()),
                ]
            )
            + "\nNothing was run, read or contacted. Repeat the option for each that you want used, or take your own "
            "campaign with --inputs present."
        )
    return [*lines, *(f"uses, as you allow: {_printed(place)} = {_printed(value)}" for value, place in wanted.items())]


def environment_for(variables: Mapping[str, str], permission: Permission) -> dict[str, str]:
    """The variables of a process that makes a stranger's history again: none that looks like a secret, and no hub."""
    kept = {
        name: value
        for name, value in variables.items()
        if name in permission.values or not (_SECRET_NAME.search(name) or _SECRET_VALUE.search(value))
    }
    return kept if any(map(is_hub_id, permission.values)) else kept | {"HF_HUB_OFFLINE": "1"}


def reaching_out(settings: Mapping[str, Any], mode: Mode) -> Iterator[tuple[str, str]]:
    """Place and value of every setting of a campaign that names an address, an environment variable or a model."""
    for place, value in _leaves(settings, ""):
        names = re.sub(r"\[\d+\]", "", place).split(".")
        named = value and (not {*ADDRESSES, *VARIABLES}.isdisjoint(names) or place in MODELS)
        if named and (mode == "regenerate" or not place.startswith(SAMPLING)):
            yield place, value


def _wanted(recorded: Home, batches: Sequence[Batch], mode: Mode) -> dict[str, str]:
    """Value → place, of everything that has to be allowed."""
    warehouse = Warehouse(recorded.warehouse, recorded.parts)
    known = set(warehouse.query("SELECT id FROM checkpoints UNION SELECT policy_id FROM difficulties")["id"])
    wanted: dict[str, str] = {}
    for batch in batches:
        for place, value in reaching_out(recorded_settings(warehouse, batch) or {}, mode):
            if place not in MODELS or _is_foreign(value, recorded.models, known):
                wanted.setdefault(value, f"{batch.asset}[{batch.partition}]: {place}")
    return wanted


def _is_foreign(model: str, models: Path, known: set[str]) -> bool:
    """Whether a model is of the hub, or a folder here that is not the one recorded."""
    if is_hub_id(model):
        return True
    if not os.path.isabs(model) or not Path(model).is_dir():  # noqa: PTH117 (of any text)
        return False  # a packaged one, one of the campaign's own, or none at all
    try:
        return fingerprint_here(model, models) not in known
    except ServingError:
        return True


def _printed(text: str) -> str:
    """A stranger's text on one line."""
    return text if text.isprintable() else repr(text)


def _option(value: str) -> str:
    """What allows a value; pasted into a shell, it is that value alone and runs nothing."""
    return f"--allow {shlex.quote(value)}" if value.isprintable() else f"{value!r}, which no option names"


def _python(recorded: Home, target: Target, batches: Sequence[Batch]) -> Iterator[str]:
    """The hooks of the domains whose assets are made again."""
    domains = {batch.partition for batch in batches if batch.asset in _WITH_HOOKS}
    for brief in target.batches:
        if brief.asset == "brief" and brief.partition in domains:
            for path, text in hooks_of(recorded, brief).items():
                sha256 = hashlib.sha256(text.encode()).hexdigest()
                yield f"runs Python unconfined: {path} of domain {brief.partition}, sha256 {sha256}"


def _running(batches: Sequence[Batch], mode: Mode) -> Iterator[str]:
    assets = {batch.asset for batch in batches}
    if assets - {"brief", "base_policy"}:
        yield "runs SQL and programs of its tools, in the sandbox"
    for names, what in (
        (_TRAINED, "trains"),
        (_SAMPLED, "samples with a model server" if mode == "regenerate" else "plays recorded tokens"),
    ):
        if some := [f"{batch.asset}[{batch.partition}]" for batch in batches if batch.asset in names]:
            yield f"{what}: {', '.join(some)}"


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Place and text of every text in a JSON value."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{number}]")
