"""`envloom reproduce` and `envloom bundle`: a checkpoint looked at, made again, or carried to another machine."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dagster_project.commands.console import AsJson, as_stored, echo, echo_json, fail, json_text, stderr, terminal
from dagster_project.home import Home
from dagster_project.named_errors import NAMED
from warehouse.queries.lookup import NotFound

_COLOURS = {"identical": "green", "different": "red", "not reproducible here": "yellow", "taken over": "dim"}


class _Mode(StrEnum):
    verify = "verify"
    replay = "replay"
    regenerate = "regenerate"


class _Inputs(StrEnum):
    recorded = "recorded"
    present = "present"


def reproduce(
    checkpoint: Annotated[
        str, typer.Argument(help="An iteration (demo-0001), a checkpoint's id or its start, or a bundle.")
    ],
    mode: Annotated[
        _Mode | None,
        typer.Option(
            help="verify what is stored; replay it from recorded calls and tokens; regenerate: sample anew. By default "
            "verify for a bundle, which runs nothing, and else replay."
        ),
    ] = None,
    inputs: Annotated[
        _Inputs, typer.Option(help="Settings, briefs and held-out sets: as recorded, or as they are now.")
    ] = _Inputs.recorded,
    asset: Annotated[
        list[str] | None, typer.Option(help="Look only at this asset (again for more); take others over.")
    ] = None,
    scratch: Annotated[Path | None, typer.Option(help="Make the scratch project here, and keep it.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Let a bundle run its Python, training and rollouts here, as you.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="An address, environment variable or model that a trusted bundle may use (again for more)."),
    ] = None,
    max_gib: Annotated[
        float | None,
        typer.Option(min=0, help="What a bundle may unpack to. By default 20, or half of the free disk if less."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Is a checkpoint what it says it is, and does it come out the same again? Exits with 0, 1 (different) or 2."""
    from dagster_project.reproduction.containment import BundleBroken
    from dagster_project.reproduction.outcome import Finding, exit_code
    from dagster_project.reproduction.reproducing import RemakingDied, Request, reproduce
    from dagster_project.reproduction.scratch import NotHere
    from dagster_project.reproduction.trust import NotTrusted, Permission

    mode = mode or (_Mode.verify if Path(checkpoint).is_file() else _Mode.replay)
    request = Request(
        checkpoint,
        mode.value,
        inputs.value,
        frozenset(asset or ()),
        scratch,
        Permission(trust, frozenset(allow or ())),
        None if max_gib is None else int(max_gib * 2**30),
    )
    console = terminal()
    runs: list[str] = []

    def hear(finding: Finding) -> None:
        if not as_json:
            _show(finding, console)

    def announce(lines: Sequence[str]) -> None:
        runs.extend(lines)
        for line in lines:
            stderr.print(as_stored(f"the archive {line}"), soft_wrap=True)

    try:
        home = Home.here() if mode is _Mode.verify else Home.here().prepare()
        findings = reproduce(request, home, hear, announce)
    except (*NAMED, BundleBroken, NotHere, NotTrusted, RemakingDied, FileExistsError) as error:
        raise fail(error, 2) from error  # 1 says that something is different, and nothing was compared
    counts = Counter(str(finding.status) for finding in findings)
    if as_json:
        assets = [finding.as_json() for finding in findings]
        echo_json({"mode": mode, "counts": counts, "runs": runs, "assets": assets})
    else:
        console.print(", ".join(f"{count} {status}" for status, count in counts.items()))
        without = dict.fromkeys(cause for each in findings if each.status == "identical" for cause in each.causes)
        for cause in _some(list(without), 10):
            console.print(f"otherwise here, without effect: {as_stored(cause)}", soft_wrap=True, highlight=False)
    raise typer.Exit(exit_code(findings))


def _show(finding: "Finding", console: Console) -> None:  # type: ignore[name-defined]  # noqa: F821
    def line(text: str, style: str = "") -> None:
        text = "".join(sign if sign.isprintable() else "�" for sign in text)  # a stranger's, for a terminal
        console.print(text, style=style, soft_wrap=True, highlight=False)

    colour = _COLOURS[finding.status]
    line(f"[{colour}]{finding.status:22}[/{colour}] {as_stored(finding.name):28} [dim]{as_stored(finding.told)}[/dim]")
    if finding.difference:
        line(f"  {as_stored(finding.difference.sentence)}")
    if finding.status != "identical":
        for cause in _some(finding.causes, 6):
            line(f"  otherwise here: {as_stored(cause)}")


def _some(causes: Sequence[str], most: int) -> list[str]:
    more = len(causes) - most
    return [*causes[:most], *([f"and {more} more (--json)"] if more > 0 else [])]


def bundle(
    checkpoint: Annotated[str, typer.Argument(help="An iteration (demo-0001), a checkpoint's id or its start.")],
    out: Annotated[Path | None, typer.Option(help="The archive; `.tar`, or `.tar.gz` to compress it.")] = None,
    as_json: AsJson = False,
) -> None:
    """One archive with everything that a checkpoint was made from; `envloom reproduce` takes it on another machine."""
    from dagster_project.reproduction.bundles import BundleBroken, write_bundle
    from dagster_project.reproduction.scratch import NotHere
    from warehouse.queries.checkpoint_history import find_target
    from warehouse.warehouse import Warehouse

    home = Home.here()
    path = out or Path(f"{checkpoint}.tar")
    try:
        written = write_bundle(home, find_target(Warehouse(home.warehouse, home.parts), checkpoint), path)
    except (NotFound, NotHere, BundleBroken) as error:
        raise fail(error, 2) from error
    with path.open("rb") as opened:
        told = {"bundle": str(path), **written, "sha256": hashlib.file_digest(opened, "sha256").hexdigest()}
    echo(json_text(told) if as_json else "\n".join(f"{name:9} {value}" for name, value in told.items()))
