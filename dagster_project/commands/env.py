"""`envloom env`: see the environments there are, play one by hand, serve its tools to any MCP client."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.commands.console import AsJson, as_stored, echo, echo_json, fail, json_text, stderr, terminal
from dagster_project.home import Home

if TYPE_CHECKING:
    from envs.environment import Environment
    from envs.play import Notation, Play, Reply
    from warehouse.warehouse import Warehouse

env_app = typer.Typer(no_args_is_help=True, help="List environments, play one by hand, serve one over MCP.")

Name = Annotated[str, typer.Argument(help="A domain (its newest environment), an id, or the start of one.")]
QUIT = ("quit", "exit")


class Transport(StrEnum):
    STDIO = "stdio"
    STREAMABLE_HTTP = "streamable-http"


@env_app.command("list")
def env_list(as_json: AsJson = False) -> None:
    """The newest environment of each domain."""
    from generators.discovery import unusable
    from warehouse.queries.lookup import newest_environments

    for problem in unusable().values():
        stderr.print(f"[yellow]warning[/yellow] {as_stored(problem)}", soft_wrap=True)
    rows = newest_environments(_warehouse())
    if as_json:
        echo_json(rows)
        return
    if not rows:
        stderr.print("There is no environment yet: run `make demo`.")
    width = max((len(row["domain"]) for row in rows), default=0)
    for row in rows:
        counts = f"{row['n_tables']} tables, {row['n_tools']} tools, {row['n_proven_tasks']} proven tasks"
        echo(f"{row['domain']:{width}}  {row['id']}  {counts}  {row['title']}")


@env_app.command("show")
def env_show(name: Name, as_json: AsJson = False) -> None:
    """What an environment says of itself; with --json its whole specification, which `Environment.open` reads."""
    from envs.play import Play

    environment = _environment(_warehouse(), name)
    if as_json:
        echo(environment.spec.model_dump_json())
        return
    tables = [
        f"{table.name}({', '.join(['id', *(column.name for column in table.columns)])})"
        for table in environment.spec.tables
    ]
    echo("\n\n".join([Play(environment, _notation()).opening().text, "\n".join(tables)]))


@env_app.command("play")
def env_play(
    name: Name,
    task: Annotated[str, typer.Option(help="The id of a task, the start of one, or `random`.")] = "",
    as_json: AsJson = False,
) -> None:
    """Try an environment by hand: write calls as a policy does, see what changes, be judged.

    Reads lines from a pipe as well; `--json` prints one object per line. Exits with 1 if the last verdict was not
    `solved`.
    """
    from envs.play import Play
    from warehouse.queries.lookup import NotFound, find_task

    warehouse = _warehouse()
    with _environment(warehouse, name) as environment:
        try:
            play = Play(environment, _notation(), find_task(warehouse, environment.id, task) if task else None)
        except NotFound as error:
            raise fail(error, 2) from error
        _show(play.opening(), as_json)
        stderr.print("Write a call, or `help`.")
        for line in _lines(play):
            if line.strip() in QUIT:
                break
            if line.strip():
                _show(play.reply(line), as_json)
        play.close()
    if play.solved is False:
        raise typer.Exit(1)


@env_app.command("serve")
def env_serve(
    name: Name,
    transport: Annotated[Transport, typer.Option(help="How clients connect.")] = Transport.STDIO,
    port: Annotated[int, typer.Option(min=0, max=65535, help="For streamable-http; 0 takes a free one.")] = 0,
    max_sessions: Annotated[int, typer.Option(min=1, help="For streamable-http: sessions open at once.")] = 256,
    as_json: AsJson = False,
) -> None:
    """Serve the environment's tools over MCP; each session is an episode of its own, rolled back at its end."""
    from envs import mcp

    environment = _environment(_warehouse(), name)
    if transport is Transport.STDIO:
        stderr.print(f"{environment.spec.domain} {environment.id}: MCP on stdin and stdout", highlight=False)
        with suppress(KeyboardInterrupt):
            mcp.serve_stdio(environment)
        return
    try:
        listening = mcp.listen(port)
    except OSError as error:
        stderr.print(f"port {port} cannot be listened on ({error.strerror}). Choose another, or 0 for a free one.")
        raise typer.Exit(2) from error
    told = {"url": mcp.address(listening), "environment": environment.id}
    echo(json_text(told) if as_json else told["url"])
    with suppress(KeyboardInterrupt):
        mcp.serve_http(environment, listening, max_sessions)


def _notation() -> "Notation":
    """That of small policies."""
    from envs.play import Notation
    from trainer.dialect import parse_turn, signature, user_message

    return Notation(parse_turn, signature, user_message)


def _warehouse() -> "Warehouse":
    from warehouse.warehouse import Warehouse

    home = Home.here()
    return Warehouse(home.warehouse, home.parts)


def _environment(warehouse: "Warehouse", name: str) -> "Environment":
    """The environment of that name, loaded; an unknown name, or one that loads no more, ends the command with 2."""
    from envs.environment import Environment
    from envs.errors import SpecError
    from warehouse.queries.lookup import NotFound, find_environment

    try:
        return Environment.load(find_environment(warehouse, name))
    except (NotFound, SpecError) as error:
        raise fail(error, 2) from error


def _lines(play: "Play") -> Iterator[str]:
    """Lines of the terminal, with editing, history and completion; or of the pipe, as they come."""
    if not sys.stdin.isatty():
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # a line that is not UTF-8 is answered as unreadable
        yield from sys.stdin
        return
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    words = [*play.commands, *QUIT, "judge", "Answer:", *play.environment.tools]
    state = Home.here().state
    # To play an episode is to read: a home that cannot be written keeps no lines.
    history = FileHistory(str(state / "play_history")) if os.access(state, os.W_OK) else InMemoryHistory()
    session: PromptSession[str] = PromptSession(history=history, completer=WordCompleter(words))
    while True:
        try:
            yield session.prompt(f"{play.environment.spec.domain}> ")
        except KeyboardInterrupt:
            continue  # as in a shell: the line is given up, not the episode
        except EOFError:
            return


def _show(reply: "Reply", as_json: bool) -> None:
    if as_json:
        echo_json(reply.content)
    else:
        terminal().print(as_stored(reply.text), soft_wrap=True)
