"""The simple sentences among a brief's rules, read as what they allow: from which statuses a thing may take a step.

Only a clause whose words are the table's own statuses is read: `An order can be cancelled only while it is pending or
paid`. Any other rule stays what it was, a hint in words to the synthesist.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from envs.spec import Table
from generators.names import words

CLAUSES = re.compile(
    r"[.;]|,\s*(?:and\s+)?(?=(?:only\s+)?(?:an?|the|each|every)\s)|\sand\s(?=(?:an?|the)\s[\w\s]+\s(?:can|may)\s)",
    re.IGNORECASE,
)
WHILE = r"(?: only)? (?P<when>while|if|when|as long as|before|until)(?: it is| they are)? (?P<then>[\w ,]+)"
THEN = re.compile(r"^(?P<step>.+?),? and (?:is then|then is|then becomes|becomes) (?P<target>\w+)$", re.IGNORECASE)
BEFORE = ("before", "until")
IRREGULAR = {
    "paid": "pay", "sent": "send", "taken": "take", "held": "hold", "lent": "lend", "sold": "sell", "given": "give",
    "lost": "lose", "made": "make", "withdrawn": "withdraw", "written": "write", "chosen": "choose", "begun": "begin",
    "done": "do", "bought": "buy", "brought": "bring", "built": "build", "kept": "keep", "left": "leave",
    "met": "meet", "seen": "see", "won": "win", "drawn": "draw", "frozen": "freeze", "broken": "break",
}  # fmt: skip


@dataclass(frozen=True)
class Allowance:
    """From which statuses one step may be taken, such as a refund only of what is approved."""

    step: str
    """The verb's stem."""
    sources: tuple[str, ...]
    target: str | None
    """The status it leads to, where the rule's words name one."""
    sentence: str
    forbids: bool = False
    """Whether the step may not be taken from these statuses, rather than only from them."""


def read_rules(rules: Sequence[str], table: Table, statuses: Sequence[str]) -> tuple[Allowance, ...]:
    """What the rules say of the steps in the life of this table, in their order."""
    clauses = (clause.strip() for rule in rules for clause in CLAUSES.split(" ".join(rule.split())))
    return tuple(allowance for clause in clauses for allowance in _read(clause, table, tuple(statuses)))


def stem(word: str) -> str:
    """What forms of a verb share: `ship` and `shipped`, `pay` and `paid`."""
    word = re.sub(r"ied$", "y", IRREGULAR.get(word, word))
    return re.sub(r"(.)\1$", r"\1", re.sub(r"(?<=..)(ing|ed|es|e|s)$|(?<=.s)ed?$", "", word))


def _read(clause: str, table: Table, statuses: tuple[str, ...]) -> list[Allowance]:
    sentence = re.compile(
        rf"^(?:only )?(?:(?:an?|the|each|every|any) )?(?P<states>.*?)\b{words(table.name)}s? (?:can|may|must(?= not))"
        rf"(?P<no> ?not)? (?P<steps>.+?)(?:{WHILE})?$",
        re.IGNORECASE,
    )
    found = sentence.match(clause)
    if found is None:
        return []
    before = _statuses(found["states"], statuses)
    after = _statuses(found["then"] or "", statuses)
    if before is None or after is None or bool(before) == bool(after):
        return []
    if after and found["when"].lower() in BEFORE:
        after = statuses[: statuses.index(after[0])]
    steps = [_step(words_of_step, statuses) for words_of_step in re.split(r",? or |, ", found["steps"])]
    return [
        Allowance(step, before or after, target, clause, forbids=found["no"] is not None)
        for step, target in filter(None, steps)
    ]


def _statuses(text: str, statuses: tuple[str, ...]) -> tuple[str, ...] | None:
    """The statuses that the words name, none for no words; None if a word is no status."""
    listed = re.split(r",? or |, | and ", text.strip().lower())
    names = [re.sub(r"^(an?|the) ", "", name).replace(" ", "_") for name in listed]
    if names == [""]:
        return ()
    return tuple(s for s in statuses if s in names) if set(names) <= set(statuses) else None


def _step(text: str, statuses: tuple[str, ...]) -> tuple[str, str | None] | None:
    """(verb's stem, status it leads to) of `be reported lost`, `expire` or `be prepared and is then ready`."""
    then = THEN.match(text)
    named = (then["step"] if then else text).removeprefix("be ").lower().split()
    if not 1 <= len(named) <= 2:
        return None
    target = next((word for word in ([then["target"]] if then else named) if word in statuses), None)
    if target is None and not then:
        alike = [status for status in statuses if _alike(stem(status), stem(named[-1]))]
        target = alike[0] if len(alike) == 1 else None
    return stem(named[0]), target


def _alike(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and len(short) >= (4 if short != long else 1)
