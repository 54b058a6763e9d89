"""Reading the JSON object that a model was asked for, whatever stands around it: thinking, prose, fences.

The object is read exactly or not at all: several different ones that fit are refused, and nothing in one is mended.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from serving.thinking import next_mark, without_thinking

Response = TypeVar("Response", bound=BaseModel)

MAX_ANSWER = 8_000
"""Characters of an answer that is read or kept with a rejection; the whole of it is in the ledger."""

_BEGINS_LIKE_JSON = re.compile(r'\{\s*(?:"|\}|$)')
_FENCE_BEFORE = re.compile(r"(?:```|~~~)[ \t]*\w*\s*$")
_FENCE_AFTER = re.compile(r"\s*(?:```|~~~)")
_DECODER = json.JSONDecoder()


class Unreadable(ValueError):
    """An answer that holds no object of the response's type; `reason` is for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Candidate(NamedTuple):
    text: str
    fenced: bool


@dataclass
class _Scan:
    """The JSON objects of a text outside its thinking, in order."""

    objects: list[_Candidate] = field(default_factory=list)
    unfinished: str | None = None
    """An object that begins and is no JSON to its end."""
    open_thinking: int | None = None
    """Where thinking begins that never ends."""


def read_object(response: type[Response], text: str, *, cut: bool = False, partial: bool = False) -> Response:
    """The object of type `response` in `text`. Raises Unreadable.

    `cut`: the text ended at its bound of tokens. `partial`: of an object that never ends, the finished part is read.
    """
    text = text.removeprefix("\ufeff")
    problem: Unreadable | None = None
    if len(text) <= MAX_ANSWER:
        try:
            return _validated(response, text, partial=partial)
        except Unreadable as error:
            problem = error
    scan = _scanned(text)
    if scan.open_thinking is not None and not scan.objects and not cut:
        scan.objects = _last_object(text[scan.open_thinking :])
    fitting, misfit = _fitting(response, scan.objects)
    if len(fitting) > 1:
        raise Unreadable("ambiguous", f"the answer holds {len(fitting)} JSON objects; answer with exactly one.")
    if fitting:
        return fitting[0]
    if scan.unfinished is not None and len(scan.unfinished) <= MAX_ANSWER:
        try:
            return _validated(response, scan.unfinished, partial=partial)
        except Unreadable as error:
            misfit = misfit or error
    raise _problem(text, problem, misfit)


def _problem(text: str, whole: Unreadable | None, misfit: Unreadable | None) -> Unreadable:
    """Why nothing fits: the problem of the whole text where that should have been the object."""
    begins = text.lstrip().startswith("{")
    if begins and whole is not None:
        return whole
    if not begins and misfit is not None:
        return misfit
    if not without_thinking(text).strip() and text.strip():
        return Unreadable("thinking_only", "the answer is thinking alone; write the JSON object after it.")
    if whole is None:
        return Unreadable("too_long", f"the answer has {len(text)} characters; answer in at most {MAX_ANSWER}.")
    return whole


def _fitting(response: type[Response], objects: Sequence[_Candidate]) -> tuple[list[Response], Unreadable | None]:
    """The different values that fit, of the fenced objects if one of these does; and the last problem."""
    misfit: Unreadable | None = None
    for candidates in ([candidate for candidate in objects if candidate.fenced], objects):
        fitting: list[Response] = []
        for candidate in candidates:
            try:
                value = _validated(response, candidate.text)
            except Unreadable as error:
                misfit = error
                continue
            if value not in fitting:
                fitting.append(value)
        if fitting:
            return fitting, None
    return [], misfit


def _scanned(text: str) -> _Scan:
    scan = _Scan()
    position, thinking = 0, False
    mark = next_mark(text, position)
    while True:
        if mark is not None and mark.start < position:
            mark = next_mark(text, position)
        brace = -1 if thinking or scan.unfinished is not None else text.find("{", position)
        if brace >= 0 and (mark is None or brace < mark.start):
            position = _take_object(text, brace, scan)
            continue
        if mark is None:
            return scan
        if mark.kind == "closes":
            if not thinking:  # the opening mark was in the prompt: all before was thinking
                scan.objects.clear()
                scan.unfinished = None
            thinking, scan.open_thinking = False, None
        elif mark.kind == "opens" and not thinking:
            thinking, scan.open_thinking = True, mark.stop
        position = mark.stop


def _take_object(text: str, start: int, scan: _Scan) -> int:
    """Add the object that begins at `start`, if one does; where to go on."""
    if not _BEGINS_LIKE_JSON.match(text, start):  # a brace of the prose
        return start + 1
    try:
        _, stop = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        scan.unfinished = text[start:].partition("\n```")[0]  # no JSON string holds a line end
        return start + 1
    # A fence is looked for nearby only: prose before an object may be long.
    fenced = _FENCE_BEFORE.search(text[max(0, start - 40) : start]) and _FENCE_AFTER.match(text, stop)
    scan.objects.append(_Candidate(text[start:stop], bool(fenced)))
    return stop


def _last_object(text: str) -> list[_Candidate]:
    """The object that ends a text whose thinking was never closed; prose or another mark after it, and it is none."""
    objects = _scanned(text).objects
    if not objects or not re.fullmatch(r"\s*(?:```|~~~)?\s*", text.rpartition(objects[-1].text)[2]):
        return []
    return objects[-1:]


def _validated(response: type[Response], text: str, *, partial: bool = False) -> Response:
    if len(text) > MAX_ANSWER:
        raise Unreadable("too_long", f"the answer has {len(text)} characters; answer in at most {MAX_ANSWER}.")
    try:
        if partial:
            # Small models lose themselves in one item of many: what was finished before is as good as without it.
            return response.model_validate(from_json(text, allow_partial=True))
        return response.model_validate_json(text)
    except ValidationError as error:
        value = _with_defaults(response, text, error, partial=partial)
        if value is not None:
            return value
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise Unreadable("schema", f"{where}: {first['msg']}") from error
    except ValueError as error:
        raise Unreadable("schema", f"the answer: {error}") from error


def _with_defaults(response: type[Response], text: str, error: ValidationError, *, partial: bool) -> Response | None:
    """The answer with null read as absent: strict schemas leave a model no other way to leave a property out."""
    nulls = [problem["loc"] for problem in error.errors() if problem["loc"] and problem["input"] is None]
    if not nulls:
        return None
    value: Any = from_json(text, allow_partial=partial)
    for *path, name in nulls:
        parent = value
        for step in path:
            known = isinstance(parent, dict) or (isinstance(parent, list) and isinstance(step, int))
            parent = parent[step] if known else None
        if isinstance(parent, dict):
            del parent[name]
    try:
        return response.model_validate_json(json.dumps(value))
    except ValidationError:
        return None
