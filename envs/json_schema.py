"""A tool's arguments as JSON Schema, for callers that speak it (MCP, function calling). One way only: out.

The schema never refuses what the tool takes. It cannot say all: what it lets through the tool still checks.
"""

from typing import Any

from envs.spec import Parameter, Tool

_DATETIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$"


def input_schema(tool: Tool) -> dict[str, Any]:
    """The schema of the object of arguments: every parameter required, no other property."""
    return {
        "type": "object",
        "properties": {parameter.name: _parameter_schema(parameter) for parameter in tool.parameters},
        "required": [parameter.name for parameter in tool.parameters],
        "additionalProperties": False,
    }


def _parameter_schema(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.type}
    if parameter.description:
        schema["description"] = parameter.description
    if parameter.enum:
        schema["enum"] = list(parameter.enum)
    if parameter.minimum is not None:
        schema["minimum"] = _plain(parameter.minimum)
    if parameter.maximum is not None:
        schema["maximum"] = _plain(parameter.maximum)
    if parameter.format == "date":
        schema["format"] = "date"
    elif parameter.format == "datetime":
        # JSON Schema's "date-time" demands a zone; the clock of an environment has none.
        schema["pattern"] = _DATETIME_PATTERN
    return schema


def _plain(bound: float) -> float | int:
    """`20` rather than `20.0`: the schema of an integer reads like one."""
    return int(bound) if bound.is_integer() else bound
