"""`envloom lineage`: what a record was made from, or what came of it, as a tree, as JSON or as a picture."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.tree import Tree

from dagster_project.commands.console import AsJson, as_stored, echo, echo_json, fail, stderr, terminal
from dagster_project.home import Home
from warehouse.errors import UnknownRecord
from warehouse.lineage import Lineage, made_in, trace
from warehouse.queries.lineage_fold import SINGLES, Folded, fold, fold_to_fit
from warehouse.warehouse import Warehouse


def lineage(
    name: Annotated[
        str,
        typer.Argument(help="An id, its first letters, a prompt's name, or an asset such as checkpoint[demo-0001]."),
    ],
    down: Annotated[bool, typer.Option("--down", help="What came of it, instead of where it comes from.")] = False,
    depth: Annotated[int, typer.Option(min=1, max=100, help="How many generations.")] = 12,
    kind: Annotated[str | None, typer.Option(help="The kind that is meant, where an id is that of several.")] = None,
    ancestors: Annotated[bool, typer.Option(help="Also what earlier checkpoints came from.")] = False,
    checks: Annotated[bool, typer.Option(help="Also the checks of each proof.")] = False,
    batches: Annotated[
        bool, typer.Option(help="Also the batches, runs, code and machines behind each record.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Show each record, however many are alike.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw it into this file: .svg, .png, .mmd (Mermaid) or .md; - prints .md.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The tree of what a record was made from: checkpoint, rollout, task, environment, LLM call, prompt, batch, …"""
    from dagster_project.lineage_mermaid import mermaid_markdown
    from dagster_project.lineage_picture import FORMATS, write_picture

    printed = picture == Path("-")
    if picture is not None and not printed and picture.suffix not in FORMATS:
        stderr.print(as_stored(f"{picture}: a picture is one of {', '.join(FORMATS)}."))
        raise typer.Exit(2)
    if printed and as_json:
        stderr.print("Give --picture - or --json, not both: each prints its own.")
        raise typer.Exit(2)
    home = Home.here()
    warehouse = Warehouse(home.warehouse, home.parts)
    try:
        found = trace(
            warehouse,
            name,
            up=not down,
            depth=depth,
            kind=kind,
            until=() if down or ancestors else ("checkpoint",),
            without=() if checks else ("check",),
            batches=batches,
        )
    except UnknownRecord as error:
        raise fail(error) from error
    if not found.complete:
        stderr.print("There is more: the walk ended early. Use a smaller --depth, or ask with `envloom query`.")
    if printed:
        echo(mermaid_markdown(fold_to_fit(found)).rstrip())
    elif picture is not None:
        write_picture(fold_to_fit(found), picture)
        stderr.print(as_stored(f"drawn: {picture}"), highlight=False, soft_wrap=True)
    if as_json:
        echo_json(_as_json(warehouse, found))
    elif picture is None:
        _print_tree(warehouse, found, fold(found, singles=len(found.nodes) if every else SINGLES))


def _as_json(warehouse: Warehouse, found: Lineage) -> dict[str, object]:
    kind, id = found.root
    return {
        "root": {"kind": kind, "id": id},
        "direction": "up" if found.up else "down",
        "complete": found.complete,
        "nodes": [asdict(node) for node in found.nodes.values()],
        "edges": [asdict(link) for link in found.links],
        "made_in": made_in(warehouse, *found.root),
    }


def _print_tree(warehouse: Warehouse, found: Lineage, folded: Folded) -> None:
    tree = Tree(_label(folded, 0))
    for batch in made_in(warehouse, *found.root):
        where = f"{batch['asset']}[{batch['partition']}]" if batch["partition"] else batch["asset"]
        told = f"in {where} {batch['created_at']:%Y-%m-%d %H:%M}, run {batch['run_id']}, code {batch['code_version']}"
        if batch["python"]:
            told += f", Python {batch['python']} on {batch['cpu']}"
        tree.add(f"[dim]{as_stored(told)}[/dim]")
    nearest = {far: min(near for near, other in folded.relations if other == far) for _, far in folded.relations}

    def grow(branch: Tree, group: int) -> None:
        for far in folded.beyond(group):
            label = f"{as_stored(folded.said((group, far)))} {_label(folded, far)}"
            if nearest[far] == group:
                grow(branch.add(label), far)
            elif (group, far) in folded.bare:
                branch.add(f"[dim]{label} (elsewhere)[/dim]")

    grow(tree, 0)
    if not found.links:
        tree.add(f"[dim]nothing is {'above' if found.up else 'below'} it[/dim]")
    terminal(width=None if sys.stdout.isatty() else 400).print(tree, highlight=False)


def _label(folded: Folded, number: int) -> str:
    group = folded.groups[number]
    return " ".join(
        filter(None, (f"[bold]{group.title}[/bold]", as_stored(group.id), f"[dim]{as_stored(group.about)}[/dim]"))
    )
