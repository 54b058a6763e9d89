"""Serving an environment over MCP, as the room of environments does it by itself."""

import asyncio
import subprocess
import sys

import pytest
from mcp import Client, MCPError

from envs.environment import Environment
from envs.mcp import mcp_server
from envs.spec import Returns, Tool
from tests.fixtures import shop_spec


def test_a_broken_environment_is_a_protocol_error_for_its_session_only() -> None:
    overflow = Tool(name="breaks", description="", returns=Returns(sql="SELECT abs(-9223372036854775807 - 1) AS x"))
    server = mcp_server(Environment.load(shop_spec(tools=(*shop_spec().tools, overflow))))

    async def break_one() -> None:
        async with Client(server, mode="legacy") as one, Client(server, mode="legacy") as other:
            for tool, arguments in (("breaks", {}), ("get_order", {"order_id": "ORD-1"})):
                with pytest.raises(MCPError, match=r"environment broken: tool breaks: .*Open another session"):
                    await one.call_tool(tool, arguments)
            assert not (await other.call_tool("get_order", {"order_id": "ORD-1"})).is_error

    asyncio.run(break_one())


def test_serving_without_the_library_of_the_protocol_says_what_to_install() -> None:
    """In a process of its own, which cannot import `mcp`; the rest of `envs` does without it."""
    code = "import sys; sys.modules['mcp'] = None; import envs.environment, envs.play; import envs.mcp"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "envloom[mcp]" in ran.stderr.splitlines()[-1]
