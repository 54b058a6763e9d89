"""JSON schemas in the subset that strict structured outputs accept.

The reference interface takes objects whose properties are all required and closed, and few keywords. The rules here are
the strictest that are published, so that a schema which passes them is accepted by every model of that interface.
Constraints that are left out are checked when the answer is read.
"""

from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

MAX_PROPERTIES = 100
MAX_DEPTH = 5
"""Levels of nested objects and arrays."""
MAX_ENUM_VALUES = 500
MAX_NAME_CHARACTERS = 15_000
"""Of property names, definition names and enum values together."""

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class NotStrict(ValueError):
    """A schema that the strict subset cannot express, such as an object with free keys. The message names the part."""


def strict_schema(schema: Schema) -> Schema:
    """The same schema in the strict subset: as wide as `schema` or wider, its properties in the same order.

    An optional property becomes a required one that may be null. Raises NotStrict.
    """
    definitions = {name: _part(part, f"$defs.{name}") for name, part in schema.get("$defs", {}).items()}
    root = _part({key: value for key, value in schema.items() if key != "$defs"}, "the schema")
    if "$ref" in root:
        root = definitions[root["$ref"].removeprefix("#/$defs/")]
    if root.get("type") != "object":
        raise NotStrict("the schema is no object")
    _require_small(root, definitions)
    return {**root, **({"$defs": definitions} if definitions else {})}


def _part(schema: object, where: str) -> Schema:
    """One schema of the whole; `where` names it in errors."""
    if not isinstance(schema, dict):
        raise NotStrict(f"{where} allows any value")
    if "$ref" in schema:
        if not str(schema["$ref"]).startswith("#/$defs/"):
            raise NotStrict(f"{where} refers to {schema['$ref']}, which is no definition of this schema")
        return {"$ref": schema["$ref"]}  # keywords beside it are refused
    if len(schema.get("allOf", ())) == 1:
        return _part(schema["allOf"][0], where)
    described = {"description": schema["description"]} if schema.get("description") else {}
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return {**described, "anyOf": [_part(option, f"{where}, option {n}") for n, option in enumerate(options)]}
    if "enum" in schema or "const" in schema:
        return {**described, **_enumeration(schema.get("enum", [schema.get("const")]), where)}
    match schema.get("type"):
        case "object":
            return {**_object(schema, where), **described}
        case "array" if "items" in schema and "prefixItems" not in schema:
            return {**described, "type": "array", "items": _part(schema["items"], f"{where}, items")}
        case "string" | "integer" | "number" | "boolean" | "null" as kind:
            return {**described, "type": kind}
        case list() as kinds:
            return {**described, "anyOf": [_part({**schema, "type": kind}, where) for kind in kinds]}
        case _:
            raise NotStrict(f"{where} is neither an object with named properties nor a list, a choice or a plain value")


def _object(schema: Schema, where: str) -> Schema:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    if schema.get("additionalProperties", False) is not False or "patternProperties" in schema:
        raise NotStrict(f"{where} has free keys")
    parts = {name: _part(part, f"{where}.{name}") for name, part in properties.items()}
    return {
        "type": "object",
        "properties": {name: part if name in required else _nullable(part) for name, part in parts.items()},
        "required": list(parts),
        "additionalProperties": False,
    }


def _nullable(part: Schema) -> Schema:
    options = part.get("anyOf", [part])
    if {"type": "null"} in options or part.get("type") == "null":
        return part
    described = {"description": part["description"]} if "description" in part else {}
    bare = [{key: value for key, value in option.items() if key != "description"} for option in options]
    return {**described, "anyOf": [*bare, {"type": "null"}]}


def _enumeration(values: list[Any], where: str) -> Schema:
    by_type: dict[str, list[Any]] = {}
    for value in values:
        if type(value) not in _TYPES:
            raise NotStrict(f"{where} has a choice that is no plain value")
        by_type.setdefault(_TYPES[type(value)], []).append(value)
    options = [
        {"type": kind} if kind == "null" else {"type": kind, "enum": choices} for kind, choices in by_type.items()
    ]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _require_small(root: Schema, definitions: dict[str, Schema]) -> None:
    size = _Size()
    for part in (root, *definitions.values()):
        size.add(part, 0)
    size.characters += sum(map(len, definitions))
    for name, value, limit in (
        ("properties", size.properties, MAX_PROPERTIES),
        ("levels", size.depth, MAX_DEPTH),
        ("enum values", size.enum_values, MAX_ENUM_VALUES),
        ("characters in names and enum values", size.characters, MAX_NAME_CHARACTERS),
    ):
        if value > limit:
            raise NotStrict(f"the schema has {value} {name}; strict ones have at most {limit}")


class _Size:
    """Counts of what is limited. A definition counts once; its depth is its own."""

    def __init__(self) -> None:
        self.properties = self.depth = self.enum_values = self.characters = 0

    def add(self, part: Schema, depth: int) -> None:
        depth += part.get("type") in ("object", "array")
        self.depth = max(self.depth, depth)
        self.properties += len(part.get("properties", {}))
        self.enum_values += len(part.get("enum", ()))
        self.characters += sum(map(len, part.get("properties", {}))) + sum(len(str(v)) for v in part.get("enum", ()))
        inner = [*part.get("properties", {}).values(), *part.get("anyOf", ())]
        for nested in (*inner, *([part["items"]] if "items" in part else [])):
            self.add(nested, depth)
