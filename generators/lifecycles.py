"""Stage `lifecycle`: how the status of a table moves, as named steps, and while which statuses other fields may change.

The model names the steps. That they only go forward, and never against a rule of the brief that can be read, is seen
to here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, create_model

from envs.spec import Column, Table
from envs.task import Rejection
from generators.brief import Brief
from generators.names import either, words
from generators.rules import Allowance, read_rules, stem
from generators.stage import Corrected, Correction, Llm, Refused, Stage, one_of, run_stage
from generators.tables import Schema

OTHER_VERBS = ("get", "find", "create", "update", "set", "count", "move", "remove", "total", "add", "list")
"""Verbs of other tools: as a step in a life they would promise something else."""


@dataclass(frozen=True)
class Transition:
    """A named step in the life of a status."""

    verb: str
    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class Lifecycle:
    """How the status of a table moves, and while which states its other fields may change."""

    transitions: tuple[Transition, ...] = ()
    editable_while: tuple[str, ...] = ()


def propose_lifecycles(
    brief: Brief, schema: Schema, domain: str, llm: Llm
) -> tuple[dict[str, Lifecycle], list[Rejection], list[str]]:
    """The lifecycle of each table with a status, what was refused or corrected, and the ids of the calls used."""
    items = [table for table in schema.tables if status_of(table)]
    stage: Stage[Table, Lifecycle] = Stage(
        name="lifecycle",
        key=lambda table: table.name,
        prompt=lambda table: {
            "brief": brief,
            "table": table,
            "rules": _rules_on(table, brief),
            "statuses": _statuses(table),
        },
        response=_lifecycle_response,
        accept=lambda table, answer: _accept_lifecycle(table, answer, brief.rules),
        max_tokens=300,
        temperature=0.3,
    )
    result = run_stage(stage, items, llm, domain, brief.answers_seed)
    return result.accepted, result.rejections, list(result.made_from.values())


def status_of(table: Table) -> Column | None:
    """The column that tells where a row is in its life."""
    return next((column for column in table.columns if column.name == "status"), None)


def _statuses(table: Table) -> tuple[str, ...]:
    """In the order of the life."""
    return table.column("status").values


def _rules_on(table: Table, brief: Brief) -> list[str]:
    """The rules of the brief that speak of this table: those of others make a small model mix the verbs up."""
    return [rule for rule in brief.rules if re.search(rf"\b{words(table.name)}s?\b", rule, re.IGNORECASE)]


def _lifecycle_response(table: Table) -> type[BaseModel]:
    state: Any = one_of(_statuses(table))
    action = create_model(
        "Action",
        verb=(str, Field(pattern=r"^[a-z]{3,12}$")),
        allowed_from=(list[state], Field(min_length=1, max_length=3)),
        becomes=(state, ...),
    )
    return create_model(
        "Lifecycle",
        actions=(list[action], Field(min_length=1, max_length=4)),
        editable_while=(list[state], Field(min_length=1, max_length=3)),
    )


def _accept_lifecycle(table: Table, answer: Any, rules: Sequence[str]) -> Corrected[Lifecycle]:
    """Transitions only go forward in the order of the status's life and within the rules, whatever the model allows."""
    statuses = _statuses(table)
    transitions: dict[str, Transition] = {}
    for action in answer.actions:
        earlier = statuses[: statuses.index(action.becomes)]
        sources = tuple(state for state in earlier if state in action.allowed_from)
        if sources and action.verb not in OTHER_VERBS:
            transitions.setdefault(action.verb, Transition(action.verb, sources, action.becomes))
    if not transitions:
        raise Refused(
            "no_transition", f"an action must change the status of {table.name}: allowed_from without becomes."
        )
    proposed = Lifecycle(tuple(transitions.values()), tuple(s for s in statuses if s in answer.editable_while))
    return corrected(table, proposed, read_rules(rules, table, statuses))


def corrected(table: Table, proposed: Lifecycle, allowances: Sequence[Allowance]) -> Corrected[Lifecycle]:
    """The lifecycle within what the rules allow, and with what is finished no longer edited. Adds no step."""
    corrections: list[Correction] = []
    steps: list[Transition] = []
    for step in proposed.transitions:
        said = _governing(step, allowances)
        within = _within(step, said, _statuses(table))
        if within != step:
            quoted = "; ".join(dict.fromkeys(f"“{allowance.sentence}”" for allowance in said))
            detail = f"{step.verb} {words(table.name)}, {_told(step)}, contradicts {quoted}; now {_told(within)}"
            corrections.append(Correction("contradicts_a_rule", detail))
        if within is not None:
            steps.append(within)
    # A status that a rule leads on from is not finished, even where the model names no step for it.
    open_states = {source for step in steps for source in step.sources}
    open_states |= {source for allowance in allowances for source in allowance.sources}
    editable = tuple(state for state in proposed.editable_while if state in open_states or not steps)
    if editable != proposed.editable_while:
        finished = either(tuple(state for state in proposed.editable_while if state not in editable))
        corrections.append(Correction("edits_what_is_finished", f"nothing leads on from {finished}: it is not changed"))
        editable = editable or tuple(state for state in _statuses(table) if state in open_states)
    return Corrected(Lifecycle(tuple(steps), editable), tuple(corrections))


def _governing(step: Transition, allowances: Sequence[Allowance]) -> list[Allowance]:
    """What the rules say of this step: of its verb, or else of the status it leads to."""
    of_verb = [allowance for allowance in allowances if allowance.step == stem(step.verb)]
    return of_verb or [allowance for allowance in allowances if allowance.target == step.target]


def _within(step: Transition, said: Sequence[Allowance], statuses: tuple[str, ...]) -> Transition | None:
    """The step as the rules allow it: what they and the model agree on, else what they say; None if that is nothing."""
    targets = {allowance.target for allowance in said if allowance.target} or {step.target}
    target = step.target if step.target in targets or len(targets) > 1 else targets.pop()
    allowing = [allowance for allowance in said if not allowance.forbids]
    allowed = {state for allowance in allowing for state in allowance.sources} if allowing else set(statuses)
    allowed -= {state for allowance in said if allowance.forbids for state in allowance.sources}
    possible = [state for state in statuses[: statuses.index(target)] if state in allowed]
    agreed = tuple(state for state in possible if state in step.sources)
    # Without a positive rule there is nothing to put in place of the model's own sources.
    sources = agreed or (tuple(possible) if allowing else ())
    return Transition(step.verb, sources, target) if sources else None


def _told(step: Transition | None) -> str:
    return f"from {either(step.sources)} to {words(step.target)}" if step else "left out"
