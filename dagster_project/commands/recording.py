"""Recording a domain: its synthesis by a live model or by batches, kept as a file for machines without a model."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from dagster_project.commands.console import AsJson, as_stored, echo, echo_json, fail, json_text, stderr
from dagster_project.home import Home
from dagster_project.synthesist import Synthesist, synthesist_here
from generators.brief import DomainError
from generators.recording import record_domain
from generators.stage import StageFailed, SynthesistNotSet
from serving.batch import BatchFile, import_answers
from serving.credentials import published
from serving.errors import AnswersPending, ServingError
from serving.flags import installed_vllm
from serving.store import CallStore

answers_app = typer.Typer(no_args_is_help=True, help="Bring in the answers of a batch.")


def _asked(synthesist: Synthesist) -> str:
    """What the calls are answered by, for the recording's header."""
    if synthesist.base_url:
        return published(f"{synthesist.model}@{synthesist.base_url}").removeprefix(f"{synthesist.model}@")
    return "batch" if synthesist.mode == "batch" else installed_vllm()


def record(
    name: str,
    mode: Annotated[str, typer.Option(help="live, or batch: write what is to be asked into a file and stop.")] = "live",
    model: Annotated[str, typer.Option(help="A packaged model, a folder, a hub id, or a name at --base-url.")] = "",
    base_url: Annotated[str, typer.Option(help="An OpenAI-compatible endpoint, with the version.")] = "",
    as_json: AsJson = False,
) -> None:
    """Synthesise a domain with a model and keep the calls in its folder, for replay on machines without one.

    Other settings come from ENVLOOM_SETTINGS (see docs/serving.md).
    """
    if mode not in ("live", "batch"):
        raise fail(ValueError(f"--mode {mode}: use live or batch"), 2)
    chosen = {key: value for key, value in (("model", model), ("base_url", base_url)) if value}
    try:
        home, synthesist = Home.here().prepare(), synthesist_here(mode=mode, **chosen)
        told = record_domain(name, lambda: synthesist.ledger(name, home), _asked(synthesist))
    except AnswersPending as pending:
        if as_json:
            echo_json({"pending": [_told(batch) for batch in pending.batches]})
        else:
            echo(str(pending))
        return
    except (DomainError, StageFailed, SynthesistNotSet, ServingError) as error:
        raise fail(error) from error
    echo(json_text(told) if as_json else "\n".join(f"{key:12} {value}" for key, value in told.items()))


def _told(batch: BatchFile) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(batch).items()}


@answers_app.command("import")
def answers_import(file: Path, as_json: AsJson = False) -> None:
    """Store the answers of a batch (its output or error file); exits with 1 if some are refused or unknown."""
    try:
        found = import_answers(CallStore(Home.here().prepare().ledger), file)
    except ServingError as error:
        raise fail(error) from error
    if as_json:
        echo_json(asdict(found))
    else:
        echo(f"stored       {found.stored}\nalready      {found.already_stored}")
        echo(f"refused      {len(found.refused)}\nunknown      {len(found.unknown)}")
    for identity, why in found.refused.items():
        stderr.print(as_stored(f"refused {identity}: {why}"), soft_wrap=True)
    for identity in found.unknown:
        stderr.print(as_stored(f"unknown {identity}: no question of this ledger"), soft_wrap=True)
    if found.refused or found.unknown:
        raise typer.Exit(1)
