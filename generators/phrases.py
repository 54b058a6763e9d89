"""Stage `phrases`: per tool, several ways in which a user would ask for it, with placeholders for its arguments.

A pattern is checked once and used in many tasks: every placeholder exactly once, a request and not a report, nothing
told that the user does not know, distinct from its siblings (`phrase_faults`).
"""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, create_model

from envs.record import Record
from envs.spec import EnvironmentSpec, Tool
from envs.task import Rejection
from generators.names import noun, words
from generators.phrase_faults import DIFFER, FIELD, SUM, normalised, pattern_fault
from generators.read_tools import COMPARE, FIND, TOTAL
from generators.sentences import keep, placeholder, sentence
from generators.stage import Corrected, Llm, Stage, run_stage

WANTED = 5
ENOUGH = 2
_COUNT = "([Hh]ow many|[Nn]umber of)"


def patterns_response(ask: "Ask") -> type[BaseModel]:
    """Answer of stage `phrases`: sentences with every placeholder, and with the words that make it this request."""
    pattern: Any = sentence((*map(placeholder, ask.placeholders), *ask.required))
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
    drawn = [tool for tool in spec.tools if is_drawn(tool, spec) and (tool.writes or not is_lookup(tool))]
    return [_order_of(tool) if tool.writes or answers(tool, spec) else _question(tool) for tool in drawn]


def is_drawn(tool: Tool, spec: EnvironmentSpec) -> bool:
    """Whether golden programs are drawn with a tool. Of a domain's own and of a model's only those whose arguments can
    all be taken from a column, and that write, or, if a model's, tell one value: what the others are for, only the
    domain's own tasks know."""
    own = spec.handmade is not None and tool.name in spec.handmade.tools
    if not own and tool.name not in spec.proposed:
        return True
    return (tool.writes or answers(tool, spec)) and all(parameter.source for parameter in tool.parameters)


def answers(tool: Tool, spec: EnvironmentSpec) -> bool:
    """Whether a tool that a model wrote answers a question of its own, with one value."""
    return tool.name in spec.proposed and not tool.writes


def is_lookup(tool: Tool) -> bool:
    """Whether a tool finds rows by a text that stands for one of them, such as a name or an e-mail address."""
    return tool.shape == "many" and any(
        p.source is not None and not p.source.endswith(".id") and not p.enum and p.type == "string"
        for p in tool.parameters
    )


def propose_phrases(
    spec: EnvironmentSpec, llm: Llm, answers_seed: int = 0
) -> tuple[dict[str, Phrasing], list[Rejection]]:
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
    result = run_stage(stage, asks(spec), llm, spec.domain, answers_seed)
    phrasings = {
        name: Phrasing(tool=name, patterns=patterns, call_id=result.made_from[name])
        for name, patterns in result.accepted.items()
    }
    plain = [ask for ask in asks(spec) if ask.tool.name not in phrasings]
    phrasings |= {ask.tool.name: _plain_phrasing(ask) for ask in plain}
    return phrasings, [*result.rejections, *(_worded_plainly(ask, spec.domain) for ask in plain)]


def _plain_phrasing(ask: Ask) -> Phrasing:
    """Stiff but true patterns for a tool that the model found no words for, so that no tool stays without tasks."""
    plainly = ask.plainly.replace(" in cents {", " {")  # the value brings its unit
    if plainly.startswith("Ask "):
        question = plainly.removeprefix("Ask for ").removeprefix("Ask ")
        return Phrasing(tool=ask.tool.name, patterns=(f"I want to know {question}", f"Please tell me {question}"))
    order = plainly[0].lower() + plainly[1:]
    return Phrasing(tool=ask.tool.name, patterns=(f"Please {order}", f"I would like you to {order}"))


def _worded_plainly(ask: Ask, domain: str) -> Rejection:
    return Rejection(
        domain=domain,
        stage="phrases",
        reason="worded_plainly",
        detail=f"tool {ask.tool.name}: no pattern of the model was accepted; its tasks are worded by rule",
        subject=ask.tool.name,
    )


def accept_patterns(ask: Ask, patterns: list[str]) -> Corrected[tuple[str, ...]]:
    """The usable patterns, normalised. Raises Refused with the commonest fault if fewer than two are."""
    return keep(
        [normalised(pattern) for pattern in patterns],
        lambda text, siblings: pattern_fault(ask.tool, ask.placeholders, ask.plainly, text, siblings),
        ENOUGH,
    )


def _order_of(tool: Tool) -> Ask:
    return Ask(tool, tuple(parameter.name for parameter in tool.parameters), _order(tool), _required(tool))


def _question(tool: Tool) -> Ask:
    placeholders = tuple(parameter.name for parameter in tool.parameters)
    subject = " and the ".join(f"{noun(p)} {{{p.name}}}" for p in tool.parameters)
    if tool.name.startswith(TOTAL):
        what = tool.description.removeprefix("Add up the ").split(" with this ")[0]
        return Ask(tool, placeholders, f"Ask for the sum of the {what} with the {subject}.", (SUM,))
    if tool.name.startswith(COMPARE):
        what, (one, other) = compared(tool), tool.parameters
        differs = f"{noun(one)} {{{one.name}}} differs from that of {noun(one)} {{{other.name}}}"
        return Ask(tool, placeholders, f"Ask how much the {what} of {differs}.", (DIFFER, what))
    if tool.shape == "one":
        return Ask(tool, (*placeholders, FIELD), f"Ask what the {{{FIELD}}} of {subject} is.")
    what = words(tool.name.removeprefix(FIND).split("_by_")[0])
    return Ask(tool, placeholders, f"Ask how many {what} there are with the {subject}.", (_COUNT,))


def compared(tool: Tool) -> str:
    """What a comparing tool compares, such as `price`."""
    return tool.description.removeprefix("Compare the ").split(" of two ")[0]


def _required(tool: Tool) -> tuple[str, ...]:
    """The verb of a step in a life, the field of a change: what small models like to replace by something likelier."""
    verb = tool.description.split()[0].lower()
    if verb == "change":
        return (noun(tool.parameters[-1]),)
    if len(tool.parameters) > 2 or verb == "add":
        return ()
    stem = verb.removesuffix("e").removesuffix("y")
    return (f"[{stem[0].upper()}{stem[0]}]{stem[1:]}[a-z]*",)


def _order(tool: Tool) -> str:
    """What a writing tool does, said of its arguments: `Change the email of customer {customer_id} to {email}.`"""
    text = tool.description.split(":")[0].rstrip(".")
    unsaid = []
    for parameter in tool.parameters:
        what = noun(parameter)
        said = next((said for said in (f"one {what}", f"another {what}", f"a {what}") if said in text), None)
        if said:
            text = text.replace(said, f"{what} {{{parameter.name}}}")
        else:
            unsaid.append(parameter)
    if len(unsaid) == 1 and len(tool.parameters) == 2:
        return f"{text} to {{{unsaid[0].name}}}."
    if unsaid:
        text += " with the " + " and the ".join(f"{noun(p)} {{{p.name}}}" for p in unsaid)
    return f"{text}."
