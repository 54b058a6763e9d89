"""`envloom env` as people and MCP clients use it: list, show, play through a pipe, serve."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters
from typer.testing import CliRunner, Result

from dagster_project.cli import app
from dagster_project.home import REPOSITORY, Home
from dagster_project.record import consume
from envs.environment import Environment
from envs.mcp import mcp_server
from envs.play import Notation, Play
from envs.spec import Parameter, Returns, Tool
from envs.task import Task, ToolCall
from envs.tools import ToolResult
from tests.fixtures import shop_spec
from trainer.dialect import parse_turn, render_answer, render_call, signature, user_message
from warehouse.queries.lookup import find_environment, find_task
from warehouse.rows.tasks import read_tasks
from warehouse.warehouse import Warehouse

ENVLOOM = Path(sys.executable).with_name("envloom")


@pytest.fixture(autouse=True)
def _home(library_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(library_home.root))


@pytest.fixture
def warehouse(library_home: Home) -> Warehouse:
    return Warehouse(library_home.warehouse, library_home.parts)


@pytest.fixture
def library(warehouse: Warehouse) -> Iterator[Environment]:
    with Environment.load(find_environment(warehouse, "library")) as environment:
        yield environment


@pytest.fixture
def task(warehouse: Warehouse, library: Environment) -> Task:
    """A proven task that changes something: the one with the smallest id."""
    [identity] = warehouse.query(
        "SELECT min(t.id) AS id FROM current_tasks t WHERE t.asset = 'proven_tasks' AND t.n_writes > 0"
    )["id"]
    return find_task(warehouse, library.id, identity)


def env(*arguments: str, lines: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(app, ["env", *arguments], input="".join(f"{line}\n" for line in lines))


def twice(environment: Environment, call: ToolCall) -> tuple[str, str]:
    """What the call answers first, and what it answers after itself."""
    with environment.episode() as episode:
        first, second = (episode.attempt(call) for _ in range(2))
        return answer(first), answer(second)


def answer(result: ToolResult) -> str:
    return json.dumps(result.value, ensure_ascii=False) if result.ok else str(result.error)


@pytest.fixture
def write(warehouse: Warehouse, library: Environment) -> ToolCall:
    """A golden call that cannot be made twice: its second answer shows that the first one is remembered."""
    tasks = read_tasks(warehouse, consume(warehouse, "proven_tasks", "library"))
    calls = [call for task in tasks for call in task.golden if library.spec.tool(call.tool).writes]
    return next(call for call in calls if len(set(twice(library, call))) == 2)


def test_the_list_has_the_newest_of_each_domain(library: Environment) -> None:
    [row] = json.loads(env("list", "--json").stdout)
    assert (row["domain"], row["id"], row["n_tools"]) == ("library", library.id, len(library.tools))
    assert row["n_proven_tasks"] > 0
    assert library.id in env("list").stdout


def test_nothing_to_list_says_how_to_make_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path))
    result = env("list")
    assert result.exit_code == 0 and "make demo" in result.stderr and result.stdout == ""
    assert "There is none yet" in env("play", "library").stderr


def test_what_is_shown_as_json_opens_as_the_same_environment(library: Environment, tmp_path: Path) -> None:
    (tmp_path / "library.json").write_text(env("show", library.id[:10], "--json").stdout)
    assert Environment.open(tmp_path / "library.json").id == library.id
    assert library.spec.title in env("show", "library").stdout


@pytest.mark.parametrize("command", ["show", "play", "serve"])
def test_an_unknown_environment_is_wrong_use_and_lists_what_there_is(command: str, library: Environment) -> None:
    result = env(command, "moonbase")
    assert result.exit_code == 2
    assert f'no environment "moonbase" in {os.environ["ENVLOOM_HOME"]}' in result.stderr
    assert f"library ({library.id})" in result.stderr


@pytest.mark.parametrize("name", ["nothing", "0"])
def test_an_unknown_or_ambiguous_task_is_wrong_use(name: str) -> None:
    result = env("play", "library", "--task", name)
    assert result.exit_code == 2
    assert "Proven ones: " in result.stderr


def test_the_golden_program_through_a_pipe_is_solved(task: Task) -> None:
    lines = [*(render_call(call) for call in task.golden), "diff", render_answer(task.golden_answer)]
    command = [ENVLOOM, "env", "play", "library", "--task", task.id]
    played = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    assert played.returncode == 0, played.stderr
    assert task.instruction in played.stdout
    assert played.stdout.splitlines()[-1] == "solved"
    assert any(change.key in played.stdout for change in task.goal.changeset)


def test_doing_nothing_is_failed_with_reasons(task: Task) -> None:
    result = env("play", "library", "--task", task.id[:12], lines=("judge all done",))
    assert result.exit_code == 1
    assert "failed\n  missing: " in result.stdout


def test_a_random_task_is_shown() -> None:
    result = env("play", "library", "--task", "random", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["task"]["request"]


def test_what_was_played_can_be_seen_and_undone(write: ToolCall) -> None:
    line = render_call(write)
    lines = (line, "diff", "undo all", "diff", line, "restart", "diff", "quit", line)
    result = env("play", "library", "--json", lines=lines)
    _, done, changed, undone, unchanged, again, restarted, anew = map(json.loads, result.stdout.splitlines())
    assert done["results"][0]["ok"] and again == done
    assert changed["changes"] and not unchanged["changes"] and not anew["changes"]
    assert undone == restarted == {"restarted": True}


def test_what_cannot_be_read_or_done_is_an_answer() -> None:
    lines = ("fly", "fly()", "judge", "task", "tools", "help")
    result = env("play", "library", lines=lines)
    assert result.exit_code == 0
    assert "`help` lists what can be written" in result.stdout
    assert "error: there is no tool fly; there are " in result.stdout
    assert "error: there is no task to judge by" in result.stdout


async def text(client: Client, call: ToolCall) -> str:
    result = await client.call_tool(call.tool, dict(call.arguments))
    return result.content[0].text


def connect(*arguments: str) -> Client:
    """The SDK's client to `envloom env serve` as a subprocess."""
    server = StdioServerParameters(
        command=str(ENVLOOM), args=["env", "serve", *arguments], env=dict(os.environ), cwd=REPOSITORY
    )
    return Client(server)


def test_an_mcp_session_is_an_episode_and_the_next_one_begins_anew(library: Environment, write: ToolCall) -> None:
    async def session() -> tuple[str, str]:
        async with connect("library") as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == list(library.tools)
            return await text(client, write), await text(client, write)

    assert asyncio.run(session()) == asyncio.run(session()) == twice(library, write)


def test_a_refused_call_is_a_tool_error_in_our_words(library: Environment) -> None:
    async def refused() -> Any:
        async with Client(mcp_server(library), mode="legacy") as client:
            return await client.call_tool("get_loan", {"loan_id": 1})

    result = asyncio.run(refused())
    assert result.is_error
    assert result.content[0].text == "get_loan: loan_id must be a string, not 1"


KEYWORDS = ToolCall(tool="from", arguments={"class": 'a "class" </think> <|im_end|>\u2028', "return": "None", "x": "é"})


def test_words_of_python_are_names_by_hand_and_over_mcp() -> None:
    parameters = tuple(Parameter(name=name, type="string") for name in KEYWORDS.arguments)
    shown = Returns(sql='SELECT :class AS "class", :return AS "return", :x AS x')
    tool = Tool(name="from", description="", parameters=parameters, returns=shown)
    environment = Environment.load(shop_spec(tools=(*shop_spec().tools, tool)))

    async def by_client() -> str:
        async with Client(mcp_server(environment), mode="legacy") as client:
            return await text(client, KEYWORDS)

    assert json.loads(asyncio.run(by_client())) == KEYWORDS.arguments
    [result] = (
        Play(environment, Notation(parse_turn, signature, user_message)).reply(render_call(KEYWORDS)).content["results"]
    )
    assert result == {"ok": True, "value": KEYWORDS.arguments}


def test_a_line_that_is_no_text_is_an_answer_too() -> None:
    result = CliRunner().invoke(app, ["env", "play", "library", "--json"], input=b'get_loan(loan_id="\xff")\nquit\n')
    assert result.exit_code == 0 and "`help` lists what can be written" in result.stdout.splitlines()[-1]


def test_a_line_that_is_no_message_is_answered_and_the_session_goes_on(library: Environment) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
        "no message",
        '{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "\\ud800"}}',
        '{"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": ' + "[" * 5000,
        json.dumps({"jsonrpc": "2.0", "id": 4, "method": "ping"}),
    ]
    command = [str(ENVLOOM), "env", "serve", library.id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write("\n".join([*lines, ""]))
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline()) for _ in lines]
    assert [answer["id"] for answer in answers] == [1, None, None, None, 4]
    assert {answer["error"]["code"] for answer in answers[1:4]} == {-32700}


def test_nothing_about_tasks_or_verdicts_is_served(library: Environment, warehouse: Warehouse) -> None:
    async def everything() -> str:
        async with Client(mcp_server(library), mode="legacy") as client:
            assert library.spec.policy in client.instructions
            capabilities = client.server_capabilities
            assert capabilities.resources is None and capabilities.prompts is None
            for listing in (client.list_resources, client.list_prompts):
                with pytest.raises(MCPError, match="Method not found"):
                    await listing()
            tools = (await client.list_tools()).model_dump_json()
            return f"{client.server_info} {client.instructions} {tools}"

    seen = asyncio.run(everything())
    assert not re.search("golden|verdict|goal|proof|proven", seen, re.IGNORECASE)
    for instruction in warehouse.query("SELECT instruction FROM tasks")["instruction"]:
        assert instruction not in seen


def test_sessions_over_http_do_not_see_each_other(library: Environment, write: ToolCall) -> None:
    command = [ENVLOOM, "env", "serve", "library", "--transport", "streamable-http", "--json"]

    async def two_at_once(url: str) -> None:
        first, second = twice(library, write)
        async with Client(url) as one, Client(url) as other:
            assert [await text(client, write) for client in (one, other, one)] == [first, first, second]
        async with Client(url) as later:
            assert await text(later, write) == first

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            asyncio.run(two_at_once(json.loads(server.stdout.readline())["url"]))
        finally:
            server.terminate()


def test_one_session_too_many_is_refused_and_the_open_ones_go_on(library: Environment, write: ToolCall) -> None:
    command = [ENVLOOM, "env", "serve", "library", "--transport", "streamable-http", "--max-sessions", "1", "--json"]

    async def one_and_a_second(url: str) -> None:
        async with Client(url) as only:
            with pytest.raises(Exception):  # noqa: B017 (the client's own, of a group)
                async with Client(url):
                    pass
            assert await text(only, write) == twice(library, write)[0]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            asyncio.run(one_and_a_second(json.loads(server.stdout.readline())["url"]))
        finally:
            server.terminate()


def test_a_client_of_the_protocol_without_sessions_is_told_to_shake_hands(library: Environment) -> None:
    async def without_session() -> None:
        async with Client(mcp_server(library), mode="2026-07-28") as client:
            with pytest.raises(MCPError, match="an episode needs a session"):
                await client.list_tools()

    asyncio.run(without_session())


def test_a_taken_port_is_wrong_use() -> None:
    from envs.mcp import listen

    with listen(0) as taken:
        port = str(taken.getsockname()[1])
        result = env("serve", "library", "--transport", "streamable-http", "--port", port)
    assert result.exit_code == 2
    assert f"port {port} cannot be listened on" in result.stderr


def test_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python and shell block of docs/environments.md, in order, in one namespace and one folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{ENVLOOM.parent}:{os.environ['PATH']}")
    page = (REPOSITORY / "docs" / "environments.md").read_text()
    namespace: dict[str, Any] = {}
    for language, block in re.findall(r"^```(python|sh)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        if language == "python":
            exec(compile(block, "docs/environments.md", "exec"), namespace)
        else:
            subprocess.run(["bash", "-euo", "pipefail", "-c", block], check=True)
