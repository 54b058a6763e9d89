"""The defaults of all records, pinned: an id leaves them out, so that a changed default is another meaning.

To accept a change on purpose, write the pin anew: `python -m tests.test_record_defaults`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from envs.record import Record, canonical_json, record_defaults
from tests.product_records import record_types

PIN = Path(__file__).with_name("record_defaults.json")
ACCEPT = f"Accept with `python -m tests.test_record_defaults`, which writes {PIN.name} anew."

Defaults = Mapping[str, Mapping[str, Any]]


def current_defaults() -> Defaults:
    """Type → field → default as JSON, of every record type that has a default."""
    defaults = {name: record_defaults(kind) for name, kind in record_types().items()}
    return {name: fields for name, fields in defaults.items() if fields}


def differences(pinned: Defaults, current: Defaults) -> Iterator[str]:
    """A sentence per field whose default is not the pinned one, with its consequence."""
    for kind in sorted({*pinned, *current}):
        before, now = pinned.get(kind, {}), current.get(kind, {})
        for field in sorted({*before, *now}):
            if field not in before:
                yield f"{kind}.{field}: new, with the default {now[field]!r}. No id changes."
            elif field not in now:
                yield f"{kind}.{field}: had the default {before[field]!r} and has none. Ids that left it out change."
            elif canonical_json(before[field]) != canonical_json(now[field]):
                yield (
                    f"{kind}.{field}: the default was {before[field]!r} and is {now[field]!r}. The ids of all records "
                    "that hold either value change, and so do those of everything that holds such a record; what is "
                    "stored without the field reads back with the new value. Recordings may have to be keyed anew."
                )


def test_defaults_are_the_pinned_ones() -> None:
    changes = list(differences(json.loads(PIN.read_text(encoding="utf-8")), current_defaults()))
    if changes:
        pytest.fail("\n".join([*changes, ACCEPT]), pytrace=False)


class Boat(Record):
    seats: int = 4
    name: str = ""


def test_a_changed_a_new_and_a_lost_default_are_told_apart() -> None:
    class Changed(Record):
        seats: int = 5
        name: str

    class Grown(Boat):
        flags: tuple[str, ...] = Field(default_factory=tuple)

    pinned = {"Boat": record_defaults(Boat)}
    assert not list(differences(pinned, {"Boat": record_defaults(Boat)}))
    lost, changed = differences(pinned, {"Boat": record_defaults(Changed)})
    assert lost.startswith("Boat.name: had the default ''") and "the default was 4 and is 5" in changed
    [new] = differences(pinned, {"Boat": record_defaults(Grown)})
    assert new == "Boat.flags: new, with the default []. No id changes."


def test_a_default_of_another_type_is_a_changed_default() -> None:
    assert list(differences({"Boat": {"seats": 1}}, {"Boat": {"seats": True}}))


if __name__ == "__main__":
    PIN.write_text(json.dumps(current_defaults(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
