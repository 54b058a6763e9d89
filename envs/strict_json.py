"""The check on every text that comes out of a sandbox: it is JSON that any two programs read alike, or it is refused.

Only text crosses: a value that was turned into an object on the way might be cyclic, huge by sharing, or made to look
like something else. What is checked here besides the grammar is what RFC 8785 asks of numbers, and size and depth.
"""

import json

from pydantic import JsonValue

from envs.record import scalar_problem

MAX_CHARACTERS = 65_536
MAX_DEPTH = 32


class NotJson(ValueError):
    """A text that is not strict JSON; the message says why, as in `the answer …`."""


def parse_json(text: object) -> JsonValue:
    """The value of a JSON text. Raises NotJson for anything that another reader might see differently."""
    if not isinstance(text, str):
        raise NotJson("is not JSON")
    if len(text) > MAX_CHARACTERS:
        raise NotJson(f"has {len(text)} characters of JSON; the most is {MAX_CHARACTERS}")
    try:
        value = _DECODER.decode(text)
    except NotJson:
        raise
    except RecursionError as error:
        raise NotJson(f"is nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:
        raise NotJson("is not JSON") from error
    _check(value)
    return value


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("has the same key twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise NotJson(f"holds {name}, which is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


def _check(value: JsonValue) -> None:
    level: list[JsonValue] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[JsonValue] = []
        for each in level:
            if isinstance(each, dict):
                inner += [*each.keys(), *each.values()]
            elif isinstance(each, list):
                inner += each
            else:
                _check_scalar(each)
        if not inner:
            return
        level = inner
    raise NotJson(f"is nested deeper than {MAX_DEPTH}")


def _check_scalar(value: JsonValue) -> None:
    if problem := scalar_problem(value):
        raise NotJson(f"holds a value that {problem}")
