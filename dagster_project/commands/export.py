"""`envloom export`: tasks, rollouts, examples and preferences as Hugging Face datasets."""

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.commands.console import AsJson, as_stored, echo, echo_json, fail, stderr
from dagster_project.home import Home

if TYPE_CHECKING:
    from warehouse.export.run import Exported, Wanted
    from warehouse.warehouse import Warehouse


class Dataset(StrEnum):
    TASKS = "tasks"
    ROLLOUTS = "rollouts"
    SFT = "sft"
    PREFERENCES = "preferences"


class Pairs(StrEnum):
    BEST = "best"
    ALL = "all"


def export(
    dataset: Annotated[Dataset, typer.Argument(help="What to export.")],
    campaign: Annotated[str, typer.Option(help="Whose; left out: that of the newest dataset.")] = "",
    batch: Annotated[str, typer.Option(help="One batch, by its id, instead of a campaign's newest.")] = "",
    out: Annotated[Path | None, typer.Option(help="The folder; left out: exports/ in the project's home.")] = None,
    push: Annotated[str, typer.Option(help="Also upload it as this dataset: name or organisation/name.")] = "",
    token_variable: Annotated[str, typer.Option(help="The environment variable that holds the token.")] = "HF_TOKEN",
    public: Annotated[bool, typer.Option("--public", help="Push for everyone to see, and not privately.")] = False,
    licence: Annotated[str, typer.Option(help="Licence of the dataset, as the hub names it.")] = "unknown",
    model_licence: Annotated[
        list[str] | None, typer.Option(help="name=licence of a model that is not packaged; may be given again.")
    ] = None,
    unproven: Annotated[bool, typer.Option("--unproven", help="Tasks without a complete proof too.")] = False,
    no_tokens: Annotated[bool, typer.Option("--no-tokens", help="rollouts: without token ids and logprobs.")] = False,
    solved_rollouts: Annotated[
        bool, typer.Option("--solved-rollouts", help="sft: also training rollouts that were solved.")
    ] = False,
    pairs: Annotated[Pairs, typer.Option(help="preferences: of each group the best against the worst, or all.")] = (
        Pairs.BEST
    ),
    min_margin: Annotated[float, typer.Option(min=0, help="preferences: rewards that differ by more.")] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Write a folder that `datasets.load_dataset` reads, with a card that says what is in it and where it is from."""
    from dagster_project.asset_names import ASSET_NAMES
    from dagster_project.runtime import source_version
    from warehouse.export.run import Wanted
    from warehouse.export.selection import Selection

    own = {Dataset.ROLLOUTS: no_tokens, Dataset.SFT: solved_rollouts}
    own[Dataset.PREFERENCES] = pairs is not Pairs.BEST or min_margin > 0
    if misplaced := [str(of) for of, given in own.items() if given and of is not dataset]:
        raise _misused(f"An option for {misplaced[0]} says nothing about {dataset}; leave it out.")
    if campaign and batch:
        raise _misused("Give --campaign or --batch, not both.")
    told = [name.partition("=") for name in model_licence or ()]
    if wrong := [name for name, _, of in told if not of]:
        raise _misused(f"--model-licence {wrong[0]}: write name=licence.")
    home = Home.here()
    wanted = Wanted(
        selection=Selection(ASSET_NAMES, campaign or None, batch or None),
        out=(out or home.root / "exports" / _folder_name(dataset, campaign or batch)).resolve(),
        code_version=source_version(),
        licence=licence,
        model_licences={name: of for name, _, of in told},
        unproven_too=unproven,
    )
    if re.search(r"[][*?]", str(wanted.out)):
        stderr.print(
            as_stored(f"{wanted.out}: `datasets` reads [, ], * and ? of a path as a pattern. Choose another --out.")
        )
    token = _token(token_variable) if push else ""
    with stderr.status(f"exporting {dataset}"):
        exported = _export(dataset, home, wanted, no_tokens, solved_rollouts, pairs, min_margin)
    address = _push(exported.path, push, token, public) if push else None
    if as_json:
        told_of = {"path": str(exported.path), "rows": exported.rows, "left_out": exported.left_out, "pushed": address}
        echo_json({"dataset": str(dataset), **told_of})
        return
    echo(str(exported.path))
    for name, splits in exported.rows.items():
        echo(f"  {name}: {', '.join(f'{rows} {split}' for split, rows in splits.items())}")
    for reason, records in exported.left_out.items():
        echo(f"  left out: {records} {reason}")
    if address:
        echo(address)


def _export(
    dataset: Dataset, home: Home, wanted: "Wanted", no_tokens: bool, solved: bool, pairs: Pairs, min_margin: float
) -> "Exported":
    from dagster_project.export.messages import Teller
    from dagster_project.export.sft import export_sft
    from serving.errors import ServingError
    from trainer.golden import GoldenFailed
    from warehouse.errors import WarehouseError
    from warehouse.export.datasets import export_preferences, export_rollouts, export_tasks
    from warehouse.export.rollouts import Pairing
    from warehouse.warehouse import Warehouse

    try:
        warehouse = Warehouse(home.warehouse, home.parts)
        teller = Teller(warehouse)
        match dataset:
            case Dataset.TASKS:
                return export_tasks(warehouse, wanted, teller)
            case Dataset.ROLLOUTS:
                return export_rollouts(warehouse, wanted, teller, tokens=not no_tokens)
            case Dataset.SFT:
                return export_sft(home, wanted, solved_rollouts=solved)
            case Dataset.PREFERENCES:
                pairing = Pairing("all" if pairs is Pairs.ALL else "best", min_margin)
                return export_preferences(warehouse, wanted, teller, pairing, partial(_default_weights, warehouse))
    except (WarehouseError, ServingError, GoldenFailed) as error:
        raise fail(error) from error


def _default_weights(warehouse: "Warehouse", batch_ids: Sequence[str]) -> dict[str, float] | None:
    """What counts where a user states no preference; None where nothing tells the campaign's settings."""
    from dagster_project.campaign import CampaignError
    from dagster_project.recorded_campaign import campaign_of

    try:
        campaign = campaign_of(warehouse, [warehouse.batch(batch_id) for batch_id in batch_ids])
    except CampaignError:
        return None
    return {name: getattr(campaign.rewards, name) for name in ("accuracy", "cost", "latency")}


def _token(variable: str) -> str:
    from warehouse.export.hub import PushFailed, token_from

    try:
        return token_from(variable)
    except PushFailed as error:
        raise fail(error, 2) from error


def _push(folder: Path, repository: str, token: str, public: bool) -> str:
    from warehouse.export.hub import PushFailed, push

    try:
        with stderr.status(as_stored(f"pushing to {repository}")):
            return push(folder, repository, token, private=not public)
    except PushFailed as error:
        raise fail(error) from error


def _folder_name(dataset: Dataset, whose: str) -> str:
    return re.sub(r"[^\w.-]+", "-", f"{dataset}-{whose}" if whose else str(dataset))


def _misused(message: str) -> typer.Exit:
    stderr.print(as_stored(message), soft_wrap=True, highlight=False)
    return typer.Exit(2)
