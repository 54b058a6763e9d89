"""Stage `phrases`: per tool, several ways in which a user would ask for it, with placeholders for its arguments.

A pattern is checked once and used in many tasks: every placeholder exactly once, a request and not a report, nothing
told that the user does not know, distinct from its siblings.
"""

import re
from dataclasses import dataclass

from pydantic import BaseModel, Field

from envs.record import Record
from envs.spec import EnvironmentSpec, Tool
from envs.task import Rejection
from generators.stage import Llm, Refused, Stage, run_stage

WANTED = 6
ENOUGH = 2
FIELD = "field"
"""The placeholder for what the user wants to know of a row."""
REPORT = (
    r"(^(the|your|this|it|successfully|done|okay|sure)\b|\b(has|have|had) been\b|\bwas\b|\bwere\b|\bsuccessfully\b"
    r"|\bthank you for\b|^i (have|will|am going|updated|changed|cancell?ed|created|marked)\b|\byou (need|asked|want)\b)"
)


class Patterns(BaseModel):
    """Answer of stage `phrases`."""

    patterns: list[str] = Field(min_length=ENOUGH, max_length=WANTED + 2)


class Phrasing(Record):
    """The accepted patterns of one tool and the call that wrote them."""

    tool: str
    patterns: tuple[str, ...]
    call_id: str


@dataclass(frozen=True)
class Ask:
    """What a user may ask of one tool: the placeholders that a pattern must hold, and a sentence saying it plainly."""

    tool: Tool
    placeholders: tuple[str, ...]
    plainly: str


def asks(spec: EnvironmentSpec) -> list[Ask]:
    """One ask per tool: do it, tell a field of one row, or count the rows found."""
    return [_ask(tool) for tool in spec.tools]


def propose_phrases(spec: EnvironmentSpec, llm: Llm) -> tuple[dict[str, Phrasing], list[Rejection]]:
    """Patterns per tool name, and what was refused. A tool without patterns gets no tasks, and that is stored too."""
    stage: Stage[Ask, tuple[str, ...]] = Stage(
        name="phrases",
        key=lambda ask: ask.tool.name,
        prompt=lambda ask: {"spec": spec, "ask": ask, "wanted": WANTED},
        response=lambda _: Patterns,
        accept=lambda ask, answer: accept_patterns(ask, answer.patterns),
        max_tokens=300,
        temperature=0.7,
    )
    result = run_stage(stage, asks(spec), llm, spec.domain, spec.seed)
    phrasings = {
        name: Phrasing(tool=name, patterns=patterns, call_id=result.made_from[name])
        for name, patterns in result.accepted.items()
    }
    return phrasings, result.rejections


def accept_patterns(ask: Ask, patterns: list[str]) -> tuple[str, ...]:
    """The usable patterns, normalised. Raises Refused with the commonest fault if fewer than two are."""
    accepted: list[str] = []
    faults: list[tuple[str, str]] = []
    for pattern in patterns:
        text = _normalise(pattern)
        fault = _fault(ask, text, accepted)
        if fault is None:
            accepted.append(text)
        else:
            faults.append(fault)
    if len(accepted) < ENOUGH:
        reason, detail = max(faults, key=lambda fault: sum(f[0] == fault[0] for f in faults))
        raise Refused(reason, detail)
    return tuple(accepted)


def _normalise(pattern: str) -> str:
    text = re.sub(r"\s+", " ", pattern.strip().strip('"').strip())
    text = re.sub(r"\{\s*(\w+)\s*\}", r"{\1}", text)
    return text if text.endswith((".", "?")) else f"{text.rstrip('!,;:')}."


def _fault(ask: Ask, text: str, siblings: list[str]) -> tuple[str, str] | None:
    found = re.findall(r"\{(\w*)\}", text)
    needed = ", ".join(f"{{{name}}}" for name in ask.placeholders)
    if sorted(found) != sorted(ask.placeholders):
        return "placeholders", f"every pattern must contain {needed} exactly once and no other braces: '{text}'."
    if re.search(REPORT, text, re.IGNORECASE):
        return "report", f"'{text}' tells what happened or answers; write what the customer asks for."
    if not 3 <= len(text.split()) <= 30:
        return "length", f"'{text}' must have 3 to 30 words."
    if re.search(r"\b[A-Z]+-\d+|\d{2,}|[_<>\[\]]", re.sub(r"\{\w+\}", "", text)):
        return "leaks_a_value", f"'{text}' must not contain ids, numbers or code besides {needed}."
    words = _words(text)
    if any(len(words & _words(s)) / len(words | _words(s)) > 0.85 for s in siblings):
        return "near_duplicate", "the patterns are too much alike; vary the sentence."
    return None


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower()))


def _ask(tool: Tool) -> Ask:
    placeholders = tuple(parameter.name for parameter in tool.parameters)
    if tool.writes:
        values = " and ".join(f"the {p.description} {{{p.name}}}" for p in tool.parameters)
        return Ask(tool, placeholders, f"{tool.description.split(', only')[0].rstrip('.')}, with {values}.")
    if tool.returns.shape == "one":
        return Ask(tool, (*placeholders, FIELD), f"Ask what the {{{FIELD}}} of {{{placeholders[0]}}} is.")
    values = " and ".join(f"{p.description} {{{p.name}}}" for p in tool.parameters)
    what = tool.name.removeprefix("find_").split("_by_")[0].replace("_", " ")
    return Ask(tool, placeholders, f"Ask how many {what} there are with the {values}.")
