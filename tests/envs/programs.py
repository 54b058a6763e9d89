"""Shops with one more tool, whose body is a program: read as any program is, or let past the reader."""

import textwrap

import pytest

from envs import workers
from envs.environment import Environment
from envs.program import ENTRY, ProgramText
from envs.python_tools import PythonBody
from envs.spec import EnvironmentSpec, Parameter, Program, Tool
from envs.tools import CompiledTool
from tests.fixtures import shop_spec

needs_workers = pytest.mark.skipif(workers.refusal() is not None, reason=str(workers.refusal()))
"""Nothing here can be tried where workers cannot be confined: the reason is the product's own."""


def program_tool(code: str, writes: bool = False, **parameters: str) -> Tool:
    """The tool `program`; parameters are given as name=type."""
    declared = tuple(Parameter.model_validate({"name": n, "type": t}) for n, t in parameters.items())
    program = Program(code=textwrap.dedent(code), writes=writes)
    return Tool(name="program", description="", parameters=declared, program=program)


def shop_with(*tools: Tool) -> EnvironmentSpec:
    return shop_spec(tools=(*shop_spec().tools, *tools))


def unread(code: str, writes: bool = False) -> Environment:
    """The shop with a program that nobody checked before it runs: what contains it is not the reading of its text."""
    environment = Environment.load(shop_spec())
    text = textwrap.indent(textwrap.dedent(code), "    ")
    function = f"def {ENTRY}(today, now):\n{text}\n"
    read = ProgramText(function, function.count("\n"), frozenset(), frozenset(), ())
    tool = Tool(name="program", description="", program=Program(code=code, writes=writes))
    environment.tools["program"] = CompiledTool(tool=tool, body=PythonBody(read, writes))
    return environment
