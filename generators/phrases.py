"""Stage `phrases`: per tool, several ways in which a user would ask for it, with placeholders for its arguments.

A pattern is checked once and used in many tasks: every placeholder exactly once, a request and not a report, nothing
told that the user does not know, distinct from its siblings (`phrase_faults`).
"""

from typing import Any

from pydantic import BaseModel, Field, create_model

from envs.record import Record
from envs.spec import EnvironmentSpec, Tool
from envs.task import Rejection
from generators.arguments import source
from generators.asks import Ask, order, question
from generators.phrase_faults import normalised, pattern_fault
from generators.recompilation import operations_of
from generators.sentences import keep, placeholder, sentence
from generators.stage import Corrected, Llm, Stage, run_stage

WANTED = 5
ENOUGH = 2


def patterns_response(ask: Ask) -> type[BaseModel]:
    """Answer of stage `phrases`: sentences with every placeholder, and with the words that make it this request."""
    pattern: Any = sentence((*map(placeholder, ask.placeholders), *ask.required))
    return create_model("Patterns", patterns=(list[pattern], Field(min_length=ENOUGH, max_length=WANTED)))


class Phrasing(Record):
    """The accepted patterns of one tool and the call that wrote them; none where they are worded by rule."""

    tool: str
    patterns: tuple[str, ...]
    call_id: str | None = None


def asks(spec: EnvironmentSpec) -> list[Ask]:
    """One ask per tool: do it, tell a field of one row, or count the rows found.

    A search by a name or an address has none: nobody asks how many members have one e-mail address. Such tools serve
    to look up the row that another request speaks of.
    """
    operations = operations_of(spec)
    drawn = [tool for tool in spec.tools if is_drawn(tool, spec) and (tool.writes or not is_lookup(tool))]
    return [
        order(tool, operations[tool.name])
        if tool.writes or answers(tool, spec)
        else question(tool, operations[tool.name])
        for tool in drawn
    ]


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
        parameter.source is not None
        and source(parameter)[1] != "id"
        and not parameter.enum
        and parameter.type == "string"
        for parameter in tool.parameters
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
    text = (ask.question or ask.plainly).replace(" in cents {", " {")  # the value brings its unit
    if ask.question:
        return Phrasing(tool=ask.tool.name, patterns=(f"I want to know {text}", f"Please tell me {text}"))
    text = text[0].lower() + text[1:]
    return Phrasing(tool=ask.tool.name, patterns=(f"Please {text}", f"I would like you to {text}"))


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
        lambda text, siblings: pattern_fault(ask, text, siblings),
        ENOUGH,
    )
