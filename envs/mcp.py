"""An environment behind the Model Context Protocol: its tools and its policy, and one episode per session.

No task is known here, so no goal, golden program, proof or verdict can leave through it. Nothing else of `envs` imports
this module or the libraries that it needs.
"""

import asyncio
import json
import socket
from importlib.metadata import version
from typing import Any

try:
    import uvicorn
    from anyio import EndOfStream
    from mcp import MCPError, types
    from mcp.server import Server
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.server.runner import serve_loop
    from mcp.server.stdio import stdio_server
    from mcp.shared.message import SessionMessage
    from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"envs.mcp needs `pip install envloom[mcp]`: there is no module {error.name}.",
        name=error.name,
    ) from error

from envs.environment import Environment
from envs.episode import Episode
from envs.errors import EnvironmentBroken
from envs.json_schema import input_schema
from envs.spec import EnvironmentSpec, Tool
from envs.task import ToolCall

HOST = "127.0.0.1"
PATH = "/mcp"
MAX_SESSIONS = 256
"""Open at once over HTTP: each holds an environment of its own, about 0.3 MB with the shipped domains."""


def mcp_server(environment: Environment) -> Server[Any]:
    """A server whose sessions each play one episode of the environment; they do not see each other."""
    tools = [_tool(tool) for tool in environment.spec.tools]

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        episode = _episode(context, environment)
        try:
            result = episode.attempt(ToolCall(tool=params.name, arguments=params.arguments or {}))
        except EnvironmentBroken as broken:
            # Not a tool error, which says "do it differently": nothing the caller does helps in this session.
            raise MCPError(types.INTERNAL_ERROR, f"environment broken: {broken}. Open another session") from broken
        text = json.dumps(result.value, ensure_ascii=False) if result.ok else str(result.error)
        return types.CallToolResult(content=[types.TextContent(text=text)], is_error=not result.ok)

    spec = environment.spec
    server: Server[Any] = Server(
        f"envloom-{spec.domain}",
        version=version("envloom"),
        title=spec.title,
        instructions=_instructions(spec),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    server.middleware.append(_sessions_only)
    return server


def serve_stdio(environment: Environment) -> None:
    """Serve the one client at the other end of stdin and stdout, until it leaves."""

    async def serve() -> None:
        async with stdio_server() as (read, write):
            # Not `Server.run`, which would also speak the protocol without sessions (see `_sessions_only`).
            await serve_loop(mcp_server(environment), _Messages(read, write), write, lifespan_state={})

    asyncio.run(serve())


class _Messages:
    """A stream of messages that answers what is no message, as JSON-RPC asks; the SDK is silent (mcp 2.3)."""

    def __init__(self, read: Any, write: Any) -> None:
        self._read, self._write = read, write

    async def receive(self) -> SessionMessage | Exception:
        """The next message."""
        while isinstance(message := await self._read.receive(), Exception):
            unread = types.ErrorData(code=types.PARSE_ERROR, message="not a JSON-RPC message in UTF-8")
            await self._write.send(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=None, error=unread)))
        return message

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._read.aclose()

    def __aiter__(self) -> "_Messages":
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> "_Messages":
        await self._read.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._read.__aexit__(*error)


def listen(port: int) -> socket.socket:
    """A socket on the loopback interface; port 0 takes a free one. Raises OSError if the port is taken."""
    return socket.create_server((HOST, port))


def address(listening: socket.socket) -> str:
    """The URL for clients of `serve_http`."""
    return f"http://{HOST}:{listening.getsockname()[1]}{PATH}"


def serve_http(environment: Environment, listening: socket.socket, max_sessions: int = MAX_SESSIONS) -> None:
    """Serve clients over streamable HTTP, until interrupted. An idle session ends after 30 minutes.

    One session more than `max_sessions` is answered 503; the open ones go on.
    """
    app = mcp_server(environment).streamable_http_app(streamable_http_path=PATH, host=HOST, max_sessions=max_sessions)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listening])


def _tool(tool: Tool) -> types.Tool:
    hints = types.ToolAnnotations(read_only_hint=not tool.writes, open_world_hint=False)
    return types.Tool(name=tool.name, description=tool.description, input_schema=input_schema(tool), annotations=hints)


def _instructions(spec: EnvironmentSpec) -> str:
    """What a policy is told before its tools: title, date, the rules and the constants."""
    constants = (f"{constant.description}: {constant.value}" for constant in spec.constants)
    return "\n".join([f"{spec.title}. Today is {spec.clock[:10]}.", spec.policy, *constants])


def _episode(context: ServerRequestContext[Any], environment: Environment) -> Episode:
    """The session's episode, opened at its first call and rolled back when the session ends."""
    # The SDK keeps state and teardown per connection for handlers, and has no public way to them (mcp 2.3).
    connection = context.session._connection
    if "episode" not in connection.state:
        fork = environment.fork()
        connection.exit_stack.callback(fork.close)
        connection.state["episode"] = connection.exit_stack.enter_context(fork.episode())
    return connection.state["episode"]


async def _sessions_only(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Refuse the protocol of 2026-07-28, which has no sessions to keep an episode in; clients then shake hands."""
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        refused = {"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": ctx.protocol_version}
        raise MCPError(types.UNSUPPORTED_PROTOCOL_VERSION, "an episode needs a session: send `initialize`", refused)
    return await call_next(ctx)
