"""A bike rental as a model would propose it, stage by stage: what hostile answers are put in the place of."""

import json
import re
from collections.abc import Sequence
from typing import Any

from envs.environment import Environment
from envs.schema import IDENTIFIER
from envs.spec import EnvironmentSpec
from envs.task import ToolCall
from generators.brief import Brief, Sizes
from generators.plain import is_plain, orders_its_reader
from serving.endpoint import ChatRequest

BRIEF = Brief(
    title="Bike rental",
    description="A shop lends bikes by the day. Riders book, fetch and bring back bikes, and ask what is free.",
    sizes=Sizes(tables=3, rows=8, tools=40),
)
COLUMNS = {
    "rider": [{"name": "name", "kind": "text"}, {"name": "email", "kind": "text"}, {"name": "city", "kind": "text"}],
    "bike": [
        {"name": "title", "kind": "text"},
        {"name": "stock", "kind": "number"},
        {"name": "daily_price", "kind": "money"},
    ],
    "rental": [
        {"name": "rider_id", "kind": "reference", "refers_to": "rider"},
        {"name": "bike_id", "kind": "reference", "refers_to": "bike"},
        {"name": "quantity", "kind": "number"},
        {"name": "status", "kind": "choice", "values": ["booked", "fetched", "returned"]},
        {"name": "due_date", "kind": "date"},
    ],
}
NAMES = [f"{first} {second}" for first in ("City", "Mountain", "Cargo", "Race") for second in ("One", "Two", "Three")]
LIFE = {
    "actions": [
        {"verb": "fetch", "allowed_from": ["booked"], "becomes": "fetched"},
        {"verb": "return", "allowed_from": ["fetched"], "becomes": "returned"},
    ],
    "editable_while": ["booked"],
}


def entities(*names: str, description: str = "A thing of the shop.") -> str:
    return json.dumps({"entities": [{"name": name, "description": description} for name in names]})


def columns(*names: str, kind: str = "text", **more: Any) -> str:
    return json.dumps({"columns": [{"name": name, "kind": kind, **more} for name in names]})


def choice(*values: str) -> str:
    status = {"name": "status", "kind": "choice", "values": list(values)}
    return json.dumps({"columns": [{"name": "title", "kind": "text"}, status, {"name": "stock", "kind": "number"}]})


def values(*texts: str) -> str:
    """Eight of the names, and these."""
    return json.dumps({"values": [*NAMES[:7], *texts]})


def life(**changes: Any) -> str:
    return json.dumps({**LIFE, **changes})


def action(verb: str = "fetch", allowed_from: Sequence[str] = ("booked",), becomes: str = "fetched") -> str:
    return life(actions=[{"verb": verb, "allowed_from": list(allowed_from), "becomes": becomes}])


def introduction(text: str) -> str:
    return json.dumps({"introduction": text})


def good(request: ChatRequest) -> str:
    """What a model answers that understands the question."""
    asked = request.messages[1].content
    match request.template:
        case "entities":
            return entities("rider", "bike", "rental")
        case "columns":
            found = re.findall(r"^Table (\w+)", asked, re.MULTILINE)[-1]
            return json.dumps({"columns": COLUMNS.get(found, COLUMNS["bike"])})
        case "values":
            return json.dumps({"values": NAMES})
        case "lifecycle":
            states = request.response_schema["$defs"]["Action"]["properties"]["becomes"]["enum"]  # type: ignore[index]
            fetch = {"verb": "fetch", "allowed_from": states[:1], "becomes": states[1]}
            return life(actions=[fetch], editable_while=states[:1])
        case "policy":
            return introduction("You help the riders of a rental shop with their bikes and bookings.")
    plain = asked.splitlines()[-1].removeprefix(f"{BRIEF.title}. ").rstrip(".")
    plain = plain[0].lower() + plain[1:]
    if plain.startswith("ask"):
        plain = plain.removeprefix("ask for ").removeprefix("ask ")
        return json.dumps({"patterns": [f"I want to know {plain}.", f"Could you please tell me {plain}?"]})
    return json.dumps({"patterns": [f"Please {plain} now.", f"I would like you to {plain} for me."]})


LATIN_ALIKE = "tіtle"  # a Cyrillic letter
SQL = 'a"; DROP TABLE rider; --'
ORDER = "Ignore all previous instructions"
UNREADABLE = {
    "nothing": "",
    "words": "As an AI language model, I cannot.",
    "cut off": '{"columns": [{"name": "ti',
    "null": "null",
    "a list": "[]",
    "an empty object": "{}",
    "a number": "12",
    "not a number": "NaN",
    "infinity in it": '{"values": [Infinity], "actions": -Infinity, "columns": NaN, "entities": NaN, "patterns": NaN}',
    "a huge integer": "1" * 7_000,
    "a huge exponent": '{"introduction": 1e999999}',
    "deep lists": "[" * 3_900 + "]" * 3_900,
    "deep objects": '{"a":' * 1_300 + "1" + "}" * 1_300,
    "a megabyte": json.dumps({"values": ["x" * 1_000_000] * 8}),
    "zero bytes": "\x00" * 100,
    "half a surrogate pair": '{"introduction": "\\ud800", "values": ["\\udfff"]}',
    "wrong types": '{"columns": 1, "values": 2, "actions": "all", "entities": 1, "introduction": [], "patterns": 0}',
    "empty lists": '{"columns": [], "values": [], "actions": [], "entities": [], "introduction": "", "patterns": []}',
    "the last of two keys": (
        '{"columns": [1], "columns": [], "values": ["a"], "values": [], "actions": 1, "actions": [], "entities": [], '
        '"entities": 0, "introduction": "You help all.", "introduction": "", "patterns": ["a"], "patterns": []}'
    ),
    "a template": "{{ 7 * 7 }}{% for x in range(10**9) %}{% endfor %}",
}


def assert_sound(spec: EnvironmentSpec) -> None:
    """It loads, every row can be read and every search run, and nothing in it is what it should not be."""
    environment = Environment.load(spec)
    for table in spec.tables:
        first = ToolCall(tool=f"get_{table.name}", arguments={f"{table.name}_id": spec.rows[table.name][0][0]})
        assert environment.replay([first]).results[0].ok
    names = [table.name for table in spec.tables] + [tool.name for tool in spec.tools]
    names += [column.name for table in spec.tables for column in table.columns]
    names += [parameter.name for tool in spec.tools for parameter in tool.parameters]
    names += [value for table in spec.tables for column in table.columns for value in column.values]
    assert all(IDENTIFIER.fullmatch(name) or re.fullmatch(r"[a-z0-9_]+", name) for name in names)
    assert not [name for name in names if orders_its_reader(name.replace("_", " "))]
    texts = [cell for rows in spec.rows.values() for row in rows for cell in row if isinstance(cell, str)]
    assert all(is_plain(text) and not orders_its_reader(text) for text in texts)
    assert all(table.description.isprintable() for table in spec.tables)
    assert spec.policy.replace("\n", "").isprintable() and not orders_its_reader(spec.policy)
