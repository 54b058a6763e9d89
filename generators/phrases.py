"""Stage `phrases`: per tool, several ways in which a user would ask for it, with placeholders for its arguments.

A pattern is checked once and used in many tasks: every placeholder exactly once, a request and not a report, nothing
told that the user does not know, distinct from its siblings.
"""

import re
from dataclasses import dataclass
from itertools import permutations
from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema, create_model

from envs.record import Record
from envs.spec import EnvironmentSpec, Parameter, Tool
from envs.task import Rejection
from generators.stage import Llm, Refused, Stage, run_stage
from generators.tools import FIND, TOTAL

WANTED = 5
ENOUGH = 2
FIELD = "field"
"""The placeholder for what the user wants to know of a row."""
REPORT = (
    r"(^(the|your|this|it|successfully|done|okay|sure)\b|\b(has|have|had) been\b|\bwas\b|\bwere\b|\bsuccessfully\b"
    r"|\bthank you for\b|^i (have|will|am going|updated|changed|cancell?ed|created|marked)\b|\byou (need|asked|want)\b)"
)


ASKING = (
    r"(^(what|how|when|where|is|are|do|does)\b|\b(what should|how (do|can)|status of|whether|check|inform|know|tell me"
    r"|confirm|details|information)\b)"
)
COUNTING = r"\b(how many|number of|count|how often)\b"
_COUNT = "([Hh]ow many|[Nn]umber of)"
_SUM = "([Tt]otal|[Ss]um|[Aa]dd up|[Aa]ltogether)"


def patterns_response(ask: "Ask") -> type[BaseModel]:
    """Answer of stage `phrases`. The schema makes the engine write one sentence with every placeholder, and with the
    words that make it this request and no other, exactly once.

    Only the engine is held to it: an endpoint that does not decode under a schema has its patterns judged one by one.
    """
    # No full stop inside: what follows a first sentence is where a small model loses the thread.
    plain = "[A-Za-z ,':-]*"
    pieces = (*(f"\\{{{name}\\}}" for name in ask.placeholders), *ask.required)
    orders = ("".join(f"{piece}{plain}" for piece in order) for order in permutations(pieces))
    holding = WithJsonSchema({"type": "string", "pattern": f"^{plain}({'|'.join(orders)})[.?]$"})
    pattern: Any = Annotated[str, holding]
    return create_model("Patterns", patterns=(list[pattern], Field(min_length=ENOUGH, max_length=WANTED)))


class Phrasing(Record):
    """The accepted patterns of one tool and the call that wrote them; none where they are worded by rule."""

    tool: str
    patterns: tuple[str, ...]
    call_id: str | None = None


@dataclass(frozen=True)
class Ask:
    """What a user may ask of one tool: the placeholders that a pattern must hold, and a sentence saying it plainly."""

    tool: Tool
    placeholders: tuple[str, ...]
    plainly: str
    required: tuple[str, ...] = ()
    """Regular expressions of the words without which a pattern would ask for something else."""


def asks(spec: EnvironmentSpec) -> list[Ask]:
    """One ask per tool: do it, tell a field of one row, or count the rows found.

    A search by a name or an address has none: nobody asks how many members have one e-mail address. Such tools serve
    to look up the row that another request speaks of.
    """
    return [_ask(tool) for tool in spec.tools if is_drawn(tool, spec) and (tool.writes or not is_lookup(tool))]


def is_drawn(tool: Tool, spec: EnvironmentSpec) -> bool:
    """Whether golden programs are drawn with a tool. Of a domain's own only those that write, and whose arguments can
    all be taken from a column; what the others are for, only the domain's own tasks know."""
    own = spec.handmade is not None and tool.name in spec.handmade.tools
    return not own or (tool.writes and all(parameter.source for parameter in tool.parameters))


def is_lookup(tool: Tool) -> bool:
    """Whether a tool finds rows by a text that stands for one of them, such as a name or an e-mail address."""
    return tool.shape == "many" and any(
        p.source is not None and not p.source.endswith(".id") and not p.enum and p.type == "string"
        for p in tool.parameters
    )


def propose_phrases(spec: EnvironmentSpec, llm: Llm) -> tuple[dict[str, Phrasing], list[Rejection]]:
    """Patterns per tool name, and what was refused. What the model has no words for is worded by rule, and reported."""
    stage: Stage[Ask, tuple[str, ...]] = Stage(
        name="phrases",
        key=lambda ask: ask.tool.name,
        prompt=lambda ask: {"spec": spec, "ask": ask, "wanted": WANTED},
        response=patterns_response,
        accept=lambda ask, answer: accept_patterns(ask, answer.patterns),
        max_tokens=240,
        repairs=1,  # a second one seldom helps a small model, and there is always the plain wording
        list_answer=True,
        temperature=0.7,
    )
    result = run_stage(stage, asks(spec), llm, spec.domain, spec.seed)
    phrasings = {
        name: Phrasing(tool=name, patterns=patterns, call_id=result.made_from[name])
        for name, patterns in result.accepted.items()
    }
    plain = [ask for ask in asks(spec) if ask.tool.name not in phrasings]
    phrasings |= {ask.tool.name: _plain_phrasing(ask) for ask in plain}
    return phrasings, [*result.rejections, *(_worded_plainly(ask, spec.domain) for ask in plain)]


def _plain_phrasing(ask: Ask) -> Phrasing:
    """Stiff but true patterns for a tool that the model found no words for, so that no tool stays without tasks."""
    if not ask.tool.writes:
        question = ask.plainly.removeprefix("Ask for ").removeprefix("Ask ")
        return Phrasing(tool=ask.tool.name, patterns=(f"I want to know {question}", f"Please tell me {question}"))
    order = ask.plainly[0].lower() + ask.plainly[1:]
    return Phrasing(tool=ask.tool.name, patterns=(f"Please {order}", f"I would like you to {order}"))


def _worded_plainly(ask: Ask, domain: str) -> Rejection:
    return Rejection(
        domain=domain,
        stage="phrases",
        reason="worded_plainly",
        detail=f"tool {ask.tool.name}: no pattern of the model was accepted; its tasks are worded by rule",
        subject=ask.tool.name,
    )


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
    if (fault := _other_meaning(ask, text)) is not None:
        return fault
    if re.search(r"[.?!] ", text) or text.startswith("We are {"):
        return "not_one_request", f"'{text}' must be one sentence that asks for exactly this."
    if not 3 <= len(text.split()) <= 22:
        return "length", f"'{text}' must have 3 to 22 words."
    if re.search(r"\b[A-Z]+-\d+|\d{2,}|[_<>\[\]]", re.sub(r"\{\w+\}", "", text)):
        return "leaks_a_value", f"'{text}' must not contain ids, numbers or code besides {needed}."
    words = _words(text)
    if any(len(words & _words(s)) / len(words | _words(s)) > 0.85 for s in siblings):
        return "near_duplicate", "the patterns are too much alike; vary the sentence."
    return None


def _other_meaning(ask: Ask, text: str) -> tuple[str, str] | None:
    """What small models get wrong most: they ask about a thing instead of asking for it, or for another thing."""
    if not ask.tool.writes:
        if ask.tool.name.startswith(TOTAL):
            adds = re.search(_SUM, text) is not None
            return None if adds else ("does_not_add_up", f"'{text}' must ask for the sum: {ask.plainly}")
        counts = FIELD not in ask.placeholders
        if counts and not re.search(COUNTING, text, re.IGNORECASE):
            return "does_not_count", f"'{text}' must ask how many there are."
        return None
    verb = ask.tool.description.split()[0].lower()
    if (match := re.search(ASKING, text, re.IGNORECASE)) and not match.group().lower().startswith(verb[:4]):
        return "asks_for_information", f"'{text}' asks about something; ask the help desk to do it: {ask.plainly}"
    changed = re.search(
        r"\b(?:change|update|set|modify|adjust) (?:the |my )?([a-z ]{1,40}?) (?:of|for|on) ", text, re.IGNORECASE
    )
    if (
        verb == "change"
        and changed
        and not set(changed.group(1).lower().split()) & set(_noun(ask.tool.parameters[-1]).split())
    ):
        return "changes_another_thing", f"'{text}' changes the {changed.group(1)}: {ask.plainly}"
    wanted = {verb[:4], *(word[:4] for word in ask.tool.name.split("_")[:1])}
    if len(ask.placeholders) == 1 and not any(word[:4] in wanted for word in re.findall(r"[a-z]+", text.lower())):
        return "other_meaning", f"'{text}' must say '{verb}': {ask.plainly}"
    return None


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower()))


def _ask(tool: Tool) -> Ask:
    placeholders = tuple(parameter.name for parameter in tool.parameters)
    if tool.writes:
        return Ask(tool, placeholders, _order(tool), _required(tool))
    subject = " and the ".join(f"{_noun(p)} {{{p.name}}}" for p in tool.parameters)
    if tool.name.startswith(TOTAL):
        what = tool.description.removeprefix("Add up the ").split(" with this ")[0]
        return Ask(tool, placeholders, f"Ask for the sum of the {what} with the {subject}.", (_SUM,))
    if tool.shape == "one":
        return Ask(tool, (*placeholders, FIELD), f"Ask what the {{{FIELD}}} of {subject} is.")
    what = tool.name.removeprefix(FIND).split("_by_")[0].replace("_", " ")
    return Ask(tool, placeholders, f"Ask how many {what} there are with the {subject}.", (_COUNT,))


def _required(tool: Tool) -> tuple[str, ...]:
    """The verb of a step in a life, the field of a change: what small models like to replace by something likelier."""
    verb = tool.description.split()[0].lower()
    if verb == "change":
        return (_noun(tool.parameters[-1]),)
    if len(tool.parameters) > 2 or verb == "add":
        return ()
    stem = verb.removesuffix("e").removesuffix("y")
    return (f"[{stem[0].upper()}{stem[0]}]{stem[1:]}[a-z]*",)


def _order(tool: Tool) -> str:
    """What a writing tool does, said of its arguments: `Change the email of customer {customer_id} to {email}.`"""
    text = tool.description.split(":")[0].rstrip(".")
    unsaid = []
    for parameter in tool.parameters:
        noun = _noun(parameter)
        said = next((said for said in (f"one {noun}", f"another {noun}") if said in text), None)
        if said:
            text = text.replace(said, f"{noun} {{{parameter.name}}}")
        else:
            unsaid.append(parameter)
    if len(unsaid) == 1 and len(tool.parameters) == 2:
        return f"{text} to {{{unsaid[0].name}}}."
    if unsaid:
        text += " with the " + " and the ".join(f"{_noun(p)} {{{p.name}}}" for p in unsaid)
    return f"{text}."


def _noun(parameter: Parameter) -> str:
    return (parameter.description or parameter.name.replace("_", " ")).removesuffix(" id")
