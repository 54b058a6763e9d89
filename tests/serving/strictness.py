"""The published rules of strict structured outputs, as a judge of schemas that knows nothing of how they are made."""

from collections.abc import Iterator
from typing import Any

KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "$ref", "description"}


def violations(schema: dict[str, Any]) -> list[str]:
    """What the strictest rules say against a root schema; nothing if it is accepted."""
    root = {key: value for key, value in schema.items() if key != "$defs"}
    of_root = [] if root.get("type") == "object" else ["the root is no object"]
    return [*of_root, *_of(root, "$"), *(v for name, part in schema.get("$defs", {}).items() for v in _of(part, name))]


def _of(part: dict[str, Any], where: str) -> Iterator[str]:
    if foreign := part.keys() - KEYWORDS:
        yield f"{where}: {sorted(foreign)}"
    if "$ref" in part:
        if len(part) > 1:
            yield f"{where}: keywords beside $ref"
        return
    if "anyOf" not in part and part.get("type") not in (
        "string",
        "number",
        "integer",
        "boolean",
        "null",
        "object",
        "array",
    ):
        yield f"{where}: type {part.get('type')}"
    if part.get("type") == "object":
        if part.get("additionalProperties") is not False:
            yield f"{where}: open"
        if part.get("required") != list(part.get("properties", {})):
            yield f"{where}: not all required"
    if part.get("type") == "array" and "items" not in part:
        yield f"{where}: no items"
    for name, inner in part.get("properties", {}).items():
        yield from _of(inner, f"{where}.{name}")
    for inner in (*part.get("anyOf", ()), *([part["items"]] if "items" in part else [])):
        yield from _of(inner, where)
