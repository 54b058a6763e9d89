"""Rules of a brief that can be read hold in the environment, whatever the model allows."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from envs.environment import Environment
from envs.spec import Column, EnvironmentSpec, Table
from envs.task import ToolCall
from generators.brief import load_brief
from generators.discovery import BUILT_IN
from generators.domain import synthesise
from generators.lifecycles import Lifecycle, Transition, corrected
from generators.rules import CLAUSES, Allowance, read_rules, stem
from serving.ledger import Ledger, read_header

RECORDED = sorted(path.parent.name for path in BUILT_IN.glob("*/calls.jsonl"))
STATUSES = ("pending", "paid", "shipped", "in_review", "cancelled", "lost", "ready")
ORDER = Table(
    name="order", id_prefix="O", description="", columns=(Column(name="status", type="enum", values=STATUSES),)
)


def read(rule: str) -> list[tuple[str, tuple[str, ...], str | None]]:
    return [(a.step, a.sources, a.target) for a in read_rules([rule], ORDER, STATUSES)]


@pytest.mark.parametrize(
    ("rule", "meant"),
    [
        ("A pending order can be paid.", [("pay", ("pending",), "paid")]),
        ("An order can be cancelled only while it is pending or paid.", [("cancel", ("pending", "paid"), "cancelled")]),
        ("only a pending order can be cancelled", [("cancel", ("pending",), "cancelled")]),
        ("Only pending or paid orders may be cancelled", [("cancel", ("pending", "paid"), "cancelled")]),
        ("Orders can be cancelled only while they are pending", [("cancel", ("pending",), "cancelled")]),
        ("An order can be cancelled before it is shipped.", [("cancel", ("pending", "paid"), "cancelled")]),
        (
            "A pending order can be paid, a paid order can be shipped",
            [("pay", ("pending",), "paid"), ("ship", ("paid",), "shipped")],
        ),
        (
            "A pending order can be paid and a paid order can be shipped",
            [("pay", ("pending",), "paid"), ("ship", ("paid",), "shipped")],
        ),
        (
            "A paid or shipped order can be cancelled or reported lost",
            [("cancel", ("paid", "shipped"), "cancelled"), ("report", ("paid", "shipped"), "lost")],
        ),
        ("A paid order can be packed and is then ready", [("pack", ("paid",), "ready")]),
        ("A paid order can be reviewed", [("review", ("paid",), None)]),
        ("An order in review can be cancelled", []),
        ("A damaged order can be refunded", []),
        ("A pending customer can be cancelled", []),
        ("An order can be cancelled", []),
        ("Orders over 100 must be paid before they are shipped", []),
        ("Be kind to whoever orders.", []),
    ],
)  # fmt: skip
def test_a_rule_is_read_only_where_its_words_are_statuses(
    rule: str, meant: list[tuple[str, tuple[str, ...], str | None]]
) -> None:
    assert read(rule) == meant


def test_what_is_forbidden_is_read_as_that() -> None:
    assert read_rules(["A shipped order cannot be cancelled"], ORDER, STATUSES) == (
        Allowance("cancel", ("shipped",), "cancelled", "A shipped order cannot be cancelled", forbids=True),
    )


@pytest.mark.parametrize(
    ("verb", "said"),
    [("pay", "paid"), ("ship", "shipped"), ("cancel", "cancelled"), ("approve", "approved"), ("use", "used"),
     ("withdraw", "withdrawn"), ("deny", "denied"), ("pass", "passed"), ("activate", "activated"), ("take", "taken")],
)  # fmt: skip
def test_a_verb_is_known_in_its_other_forms(verb: str, said: str) -> None:
    assert stem(verb) == stem(said)


PAY = ("A pending order can be paid",)
CANCEL = ("An order can be cancelled only while it is pending or paid",)


@pytest.mark.parametrize(
    ("rules", "proposed", "within"),
    [
        (CANCEL, Transition("cancel", ("pending", "paid", "shipped"), "cancelled"), ("pending", "paid")),
        (CANCEL, Transition("annul", ("paid", "shipped"), "cancelled"), ("paid",)),
        (CANCEL, Transition("cancel", ("shipped",), "cancelled"), ("pending", "paid")),
        (("A shipped order cannot be cancelled",), Transition("cancel", ("paid", "shipped"), "cancelled"), ("paid",)),
        (("A shipped order cannot be cancelled",), Transition("cancel", ("shipped",), "cancelled"), None),
        (PAY, Transition("pay", ("pending", "paid"), "shipped"), ("pending",)),
    ],
)
def test_a_step_against_a_rule_is_put_right_and_the_rule_quoted(
    rules: tuple[str, ...], proposed: Transition, within: tuple[str, ...] | None
) -> None:
    found = corrected(ORDER, Lifecycle((proposed,), ("pending",)), read_rules(rules, ORDER, STATUSES))
    assert [step.sources for step in found.value.transitions] == ([within] if within else [])
    assert all(step.verb == proposed.verb for step in found.value.transitions), "no step is added"
    [correction] = [c for c in found.corrections if c.reason == "contradicts_a_rule"]
    assert rules[0] in correction.detail and proposed.verb in correction.detail


def test_a_step_with_the_right_verb_leads_where_the_rule_says() -> None:
    proposed = Lifecycle((Transition("pay", ("pending",), "shipped"),), ("pending",))
    assert corrected(ORDER, proposed, read_rules(PAY, ORDER, STATUSES)).value.transitions[0].target == "paid"


def test_a_lifecycle_within_the_rules_stays_as_it_is() -> None:
    proposed = Lifecycle(
        (Transition("pay", ("pending",), "paid"), Transition("ship", ("paid",), "shipped")), ("pending", "paid")
    )
    found = corrected(ORDER, proposed, read_rules([*PAY, *CANCEL], ORDER, STATUSES))
    assert found.value == proposed and not found.corrections


def test_what_is_finished_is_no_longer_edited() -> None:
    proposed = Lifecycle((Transition("cancel", ("pending",), "cancelled"),), ("pending", "cancelled"))
    found = corrected(ORDER, proposed, ())
    assert found.value.editable_while == ("pending",)
    assert [c.reason for c in found.corrections] == ["edits_what_is_finished"]


@cache
def recorded(domain: str) -> EnvironmentSpec:
    recording = BUILT_IN / domain / "calls.jsonl"
    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite", read_header(recording)["model"], "replay")
        ledger.import_extract(recording)
        return synthesise(load_brief(BUILT_IN / domain), domain, ledger).spec


def allowances(spec: EnvironmentSpec, domain: str) -> Iterator[tuple[Table, Allowance]]:
    rules = load_brief(BUILT_IN / domain).rules
    for table in spec.tables:
        statuses = next((column.values for column in table.columns if column.name == "status"), ())
        yield from ((table, allowance) for allowance in read_rules(rules, table, statuses))


@pytest.mark.parametrize("domain", RECORDED)
def test_every_rule_of_a_shipped_domain_is_read(domain: str) -> None:
    clauses = [c.strip() for rule in load_brief(BUILT_IN / domain).rules for c in CLAUSES.split(" ".join(rule.split()))]
    read = {allowance.sentence for _, allowance in allowances(recorded(domain), domain)}
    assert {clause for clause in clauses if clause} == read


@pytest.mark.parametrize("domain", [name for name in RECORDED if load_brief(BUILT_IN / name).rules])
def test_no_tool_of_a_shipped_domain_does_what_a_rule_forbids(domain: str) -> None:
    spec = recorded(domain)
    environment = Environment.load(spec)
    allowed: dict[tuple[str, str], set[str]] = {}
    for table, allowance in allowances(spec, domain):
        assert allowance.target, f"{allowance.sentence} leads to a status"
        allowed.setdefault((table.name, allowance.target), set()).update(allowance.sources)
    moved = 0
    for table in (table for table in spec.tables if any(key[0] == table.name for key in allowed)):
        place = 1 + [column.name for column in table.columns].index("status")
        one_of_each = {row[place]: row for row in spec.rows[table.name]}
        for tool in (tool for tool in spec.tools if tool.writes and tool.name.endswith(f"_{table.name}")):
            if [parameter.name for parameter in tool.parameters] != [f"{table.name}_id"]:
                continue
            for status, row in one_of_each.items():
                done = environment.replay([ToolCall(tool=tool.name, arguments={f"{table.name}_id": row[0]})])
                for change in done.changeset:
                    moved += 1
                    assert status in allowed.get((table.name, str(change.new["status"])), {status}), tool.name
    assert moved
