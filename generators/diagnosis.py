"""What is wrong with a domain, said of the brief: which field to change, and how.

A finding is a problem (nothing good can come of it) or advice (something is missing that the page seems to promise).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from envs.proof import CheckOutcome, Proof
from envs.spec import Table
from envs.task import Rejection, Task
from generators.brief import Brief
from generators.domain import Synthesis
from generators.stage import StageFailed

ENOUGH_TASKS = 60
"""Each gives about four attempts of the audit; some 190 are needed to show that under 2 % go wrong."""
_STATUS = re.compile(r"\bstatus\b\s*(?:\(([^)]*)\))?")


@dataclass(frozen=True)
class Finding:
    """Something to change: the field, what is wrong, and what to write instead."""

    where: str
    what: str
    remedy: str
    severity: Literal["problem", "advice"] = "advice"

    def __str__(self) -> str:
        said = f"{self.where}: {self.what}" if self.where else self.what
        return f"{said.rstrip('.')}. {self.remedy}".rstrip(". ") + "."


def of_page(brief: Brief) -> Iterator[Finding]:
    """What can be said before anything is asked of a model."""
    if brief.sizes.tasks < ENOUGH_TASKS:
        what = f"{brief.sizes.tasks} are too few to measure how often verifiers are wrong, and proven_tasks is blocked"
        yield Finding("sizes.tasks", what, f"Ask for at least {ENOUGH_TASKS}")
    if brief.kind == "documents":  # nothing moves there
        return
    names = list(brief.entities)
    for place, (name, hint) in enumerate(brief.entities.items()):
        later = [other for other in names[place + 1 :] if _says(hint, other) and not _says(brief.entities[other], name)]
        for other in later:
            what = f"speaks of {other}, which comes after it, so it cannot refer to it"
            yield Finding(f"entities.{name}", what, f"Move {other} before {name} if one {name} belongs to one {other}")
        if (match := _STATUS.search(hint)) and len(_listed(match)) < 2:
            remedy = "List them in the order of its life: `a status (requested, confirmed, cancelled)`"
            yield Finding(f"entities.{name}", "has a status whose values are left open", remedy)
    for number, rule in enumerate(brief.rules):
        if names and not any(_says(rule, name) for name in names):
            what = f"names none of the entities {', '.join(names)}, so no prompt is given it"
            yield Finding(f"rules.{number}", what, f"Say whose rule it is, such as `One {names[-1]} can …`")
    if names and not any(_STATUS.search(hint) for hint in brief.entities.values()):
        remedy = "Give one a status with its values, such as `a status (open, paid, cancelled)`"
        yield Finding("entities", "none has a status, so nothing moves along and nothing can be refused", remedy)
    if names and not any(_says(brief.entities[name], other) for name in names for other in names if other != name):
        remedy = "Say what belongs to what, such as `order: one product ordered by one customer`"
        yield Finding("entities", "none speaks of another, so nothing may refer to anything", remedy)


def of_synthesis(brief: Brief, made: Synthesis) -> Iterator[Finding]:
    """What the page promises and the environment does not keep."""
    if brief.kind == "documents":  # its entities are written into documents, and nothing changes
        return
    tables = {table.name: table for table in made.spec.tables}
    for name, hint in brief.entities.items():
        if name not in tables:
            last = _last(made.rejections, "columns", name)
            remedy = "Name its columns in the hint: `a person with a name, an email and a city`"
            yield Finding(f"entities.{name}", f"no table came of it ({last})", remedy, "problem")
        elif match := _STATUS.search(hint):
            yield from _of_status(tables[name], _listed(match), made)
    for label in sorted({_item(each) for each in made.rejections if each.stage == "values"}):
        table, _, column = label.partition(".")
        if table in tables and column not in {each.name for each in tables[table].columns}:
            last = _last(made.rejections, "values", label)
            remedy = f"Give examples in the description, or in the hint of {table} a choice with its values"
            yield Finding(f"entities.{table}", f"its {column} was left out: no values for it ({last})", remedy)
    if brief.kind == "service" and not any(tool.writes for tool in made.spec.tools):
        remedy = "Give an entity a status, a reference to another, or a field that changes, such as an address"
        yield Finding("entities", "no tool changes anything, so no task can", remedy, "problem")


def of_stage(failure: StageFailed) -> Finding:
    """A stage in which no answer of the model was of use."""
    last = failure.rejections[-1].detail if failure.rejections else "no answer"
    where, remedy = {
        "entities": ("entities", "Name the entities yourself, each with a line on its columns"),
        "columns": ("entities", "Say more on the columns in the hints: `a person with a name, an email and a city`"),
        "values": ("description", "Say what the things are called, with two or three examples"),
        "lifecycle": ("rules", "Say from which status it moves to which: `A pending order can be paid.`"),
        "policy": ("description", "Say in its first sentence who is served, and with what"),
        "phrases": ("description", "Say in plain words what people ask for"),
    }.get(failure.stage, ("description", "Say more"))
    what = f"stage {failure.stage}: none of the model's answers could be used; the last: {last.rstrip('.')}"
    return Finding(where, what, f"{remedy}; or use a stronger synthesist", "problem")


def of_proof(drawn: Sequence[tuple[Task, Proof]], refused: Sequence[Rejection], wanted: int) -> Iterator[Finding]:
    """Why fewer tasks than wanted were proven; nothing if there are enough."""
    proven = sum(proof.accepted for _, proof in drawn)
    if proven >= wanted:
        return
    reasons = [name for _, proof in drawn for name in proof.rejected_by[:1]] + [each.reason for each in refused]
    severity: Literal["problem", "advice"] = "advice" if proven else "problem"
    for reason in sorted(set(reasons), key=lambda reason: (-reasons.count(reason), reason))[:3]:
        where, remedy = _REMEDIES.get(reason, ("description", "It is no fault of a field: tell the evidence"))
        evidence = next(_evidence(drawn, refused, reason))
        what = f"only {proven} tasks were proven; {reasons.count(reason)} fell to {reason}: {evidence}"
        yield Finding(where, what, remedy, severity)


def of_own_tasks(drawn: Sequence[tuple[Task, Proof]], place: str) -> Iterator[Finding]:
    """Drafts of the domain's own that are not proven; a problem if none is."""
    none = not any(proof.accepted for _, proof in drawn)
    failed = [(task, proof.check(name)) for task, proof in drawn for name in proof.rejected_by[:1]]
    for name in dict.fromkeys(check.name for _, check in failed):
        mine = [(task, check) for task, check in failed if check.name == name]
        task, check = mine[0]
        what = f"{len(mine)} of {len(drawn)} drafts fail {name}, such as “{task.instruction}”: {check.evidence}"
        yield Finding(place, what, _OWN.get(name, "Correct the draft"), "problem" if none else "advice")


_REMEDIES = {
    "not_executable": ("sizes.rows", "Ask for more rows, or for fewer rules that forbid what people ask for"),
    "duplicate": ("sizes.rows", "Ask for more rows, so that there is more to ask about"),
    "novel": ("sizes.rows", "Ask for more rows, so that there is more to ask about"),
    "no_leak": ("entities", "Give choices values that are not words of the entity itself"),
    "discoverable": ("entities", "Give choices values in plain words, that a person would say"),
    "policy_consistent": ("rules", "Remove rules that contradict each other"),
}
_OWN = {
    "golden_executes": "Correct the golden calls: try them in `environment.episode()`",
    "deterministic": "Use tools with an ORDER BY, and no chance of your own",
    "not_vacuous": "Ask for a change or for a fact",
    "minimal": "Leave out calls that the request does not need",
    "rejects_partial_answer": "Let the answer tell every fact, and give facts of the right kind",
    "discoverable": "Name the argument in the instruction, or read it with an earlier golden call",
    "no_leak": "Leave the fact out of the instruction",
    "policy_consistent": "Ask for what the policy allows",
    "novel": "Word each in its own way: the same words about another row are no new task",
}


def _of_status(table: Table, promised: list[str], made: Synthesis) -> Iterator[Finding]:
    where = f"entities.{table.name}"
    status = next((column for column in table.columns if column.name == "status"), None)
    if status is None:
        remedy = "Write `and a status (requested, confirmed, cancelled)` with its own values"
        yield Finding(where, "its hint speaks of a status, and the table has none", remedy)
        return
    if len(promised) > 1 and set(promised) != set(status.values):
        what = f"its status has the values {', '.join(status.values)}, not {', '.join(promised)}"
        yield Finding(where, what, "Name each as one lower-case word, in the order of its life")
    from envs.sql_text import updated_columns

    updates = [updated_columns(effect) for tool in made.spec.tools for effect in tool.effects]
    if not any(name == table.name and "status" in columns for name, columns in updates):
        last = _last(made.rejections, "lifecycle", table.name)
        remedy = (
            f"Say from which status it moves to which: `A {status.values[0]} {table.name} can be {status.values[1]}.`"
        )
        yield Finding("rules", f"the status of {table.name} never moves ({last})", remedy, "problem")


def _listed(match: re.Match[str]) -> list[str]:
    return [re.sub(r"[^a-z0-9]+", "_", value.strip().lower()) for value in (match[1] or "").split(",") if value.strip()]


def _says(text: str, entity: str) -> bool:
    return re.search(rf"\b{entity.replace('_', ' ')}(?:e?s)?\b", text.replace("_", " "), re.IGNORECASE) is not None


def _item(rejection: Rejection) -> str:
    """What a stage was asked about when an answer was refused."""
    return str(rejection.subject.get("item", "")) if isinstance(rejection.subject, dict) else ""


def _last(rejections: Iterable[Rejection], stage: str, item: str) -> str:
    found = [each.detail for each in rejections if each.stage == stage and _item(each) == item]
    return found[-1].rstrip(".") if found else "none was proposed"


def _evidence(drawn: Sequence[tuple[Task, Proof]], refused: Sequence[Rejection], reason: str) -> Iterator[str]:
    for task, proof in drawn:
        checks = [check for check in proof.checks if check.name == reason and check.outcome is CheckOutcome.FAILED]
        yield from (f"“{task.instruction}”: {check.evidence}" for check in checks)
    yield from (each.detail for each in refused if each.reason == reason)
