"""What a user may ask of one tool, said plainly: an order to do it, or a question that it answers.

The words follow from the tool's operation. Of a tool that a model or the domain's own Python wrote only its description
is known: it begins with a verb, and what it says of its arguments is filled in.
"""

from dataclasses import dataclass

from envs.spec import Parameter, Tool
from generators.names import label, noun, plural, words
from generators.operations import Kind, Operation

FIELD = "field"
"""The placeholder for what the user wants to know of a row."""
SUM = "([Tt]otal|[Ss]um|[Aa]dd up|[Aa]ltogether)"
DIFFER = "[Dd]iffer[a-z]*"
_COUNT = "([Hh]ow many|[Nn]umber of)"
_VERBS = {Kind.CHANGE: "change", Kind.MOVE: "move", Kind.REMOVE: "remove", Kind.CREATE: "add"}
"""The verb of an order. Any other begins with the word that the tool's description begins with."""


@dataclass(frozen=True)
class Ask:
    """What a user may ask of one tool: the placeholders that a pattern must hold, and a sentence saying it plainly."""

    tool: Tool
    operation: Operation
    placeholders: tuple[str, ...]
    plainly: str
    required: tuple[str, ...] = ()
    """Regular expressions of the words without which a pattern would ask for something else."""
    verb: str = ""
    """What an order tells to do, lower case."""
    question: str = ""
    """What a question asks for, as it follows `tell me`; empty for an order."""


def order(tool: Tool, operation: Operation) -> Ask:
    """The order to do what a tool does: `Change the email of customer {customer_id} to {email}.`"""
    verb = _VERBS.get(operation.kind) or tool.description.split()[0].lower()
    return Ask(
        tool=tool,
        operation=operation,
        placeholders=tuple(parameter.name for parameter in tool.parameters),
        plainly=_order(tool, operation, verb),
        required=_required(tool, verb),
        verb=verb,
    )


def question(tool: Tool, operation: Operation) -> Ask:
    """The question that a reading tool answers: a field of one row, a count, a sum or a difference."""
    placeholders = tuple(parameter.name for parameter in tool.parameters)
    subject = _listed(tool.parameters)
    several = words(plural(operation.table))
    preface, required = "Ask", tuple[str, ...]()
    if operation.kind is Kind.TOTAL:
        preface, required = "Ask for", (SUM,)
        asked = f"the sum of the {label(operation.column)} of all {several} with the {subject}."
    elif operation.kind is Kind.COMPARE:
        what, (one, other) = label(operation.column), tool.parameters
        required = (DIFFER, what)
        differs = f"{noun(one)} {{{one.name}}} differs from that of {noun(one)} {{{other.name}}}"
        asked = f"how much the {what} of {differs}."
    elif operation.kind is Kind.FIND:
        required = (_COUNT,)
        asked = f"how many {several} there are with the {subject}."
    else:
        placeholders = (*placeholders, FIELD)
        asked = f"what the {{{FIELD}}} of {subject} is."
    return Ask(tool, operation, placeholders, f"{preface} {asked}", required, question=asked)


def _required(tool: Tool, verb: str) -> tuple[str, ...]:
    """The verb of a step in a life, the field of a change: what small models like to replace by something likelier."""
    if verb == "change":
        return (noun(tool.parameters[-1]),)
    if len(tool.parameters) > 2 or verb == "add":
        return ()
    stem = verb.removesuffix("e").removesuffix("y")
    return (f"[{stem[0].upper()}{stem[0]}]{stem[1:]}[a-z]*",)


def _order(tool: Tool, operation: Operation, verb: str) -> str:
    if operation.kind is Kind.OTHER:
        return _described(tool)
    if operation.kind is Kind.CREATE:
        return f"Add a new {words(operation.table)} with the {_listed(tool.parameters)}."
    row, *values = tool.parameters
    thing = f"{words(operation.table)} {{{row.name}}}"
    if operation.kind is Kind.CHANGE:
        return f"Change the {label(operation.column)} of {thing} to {{{values[0].name}}}."
    if operation.kind is Kind.MOVE:
        return f"Move {thing} to {_listed(tuple(values))}."
    return f"{verb.capitalize()} {thing}."


def _described(tool: Tool) -> str:
    """The description with its arguments: `Extend one rental.` is `Extend rental {rental_id} with the days {days}.`"""
    text = tool.description.split(":")[0].rstrip(".")
    unsaid = []
    for parameter in tool.parameters:
        thing = noun(parameter)
        phrase = next((words for words in (f"one {thing}", f"another {thing}", f"a {thing}") if words in text), None)
        if phrase:
            text = text.replace(phrase, f"{thing} {{{parameter.name}}}")
        else:
            unsaid.append(parameter)
    if len(unsaid) == 1 and len(tool.parameters) == 2:
        return f"{text} to {{{unsaid[0].name}}}."
    if unsaid:
        text += f" with the {_listed(tuple(unsaid))}"
    return f"{text}."


def _listed(parameters: tuple[Parameter, ...]) -> str:
    """The arguments, each after its noun: `member {member_id} and the status {status}`."""
    return " and the ".join(f"{noun(parameter)} {{{parameter.name}}}" for parameter in parameters)
