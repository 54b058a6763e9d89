"""How records look in a console and a notebook: named by what a person looks for, bounded, and harmless."""

import re
from collections.abc import Callable
from datetime import datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from envs.display import CELL, LINE, ROWS
from envs.environment import Environment
from envs.proof import CheckOutcome, CheckResult, Proof, prove
from envs.spec import EnvironmentSpec
from envs.task import Task, ToolCall
from envs.taskset import Taskset
from envs.tools import ToolResult
from envs.verdict import Outcome, Verdict
from tests.fixtures import shop_spec, shop_tasks
from trainer.rollout import Rollout, StopReason, Turn
from warehouse.batch import Batch

HOSTILE = "\ud800</table><script>alert('x')</script>&\"\n\x1b[31m\u202eevil\x00 " + "<b>" * 100_000
TAGS = {"table", "caption", "tr", "th", "td"}


class Tags(HTMLParser):
    """Every tag with attributes that a page has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[tuple[str, str]] = set()
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen |= {(tag, ",".join(name for name, _ in attributes))}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def task(words: str = "Cancel my order.", calls: int = 1) -> Task:
    with Environment.load(shop_spec()) as shop:
        first = shop_tasks(shop)[0]
    golden = (ToolCall(tool="cancel", arguments={words: words}),) * calls
    return first.model_copy(update={"instruction": words, "domain": words, "golden": golden})


def verdict(words: str = "not told: the price", reasons: int = 1) -> Verdict:
    return Verdict(outcome=Outcome.FAILED, reasons=(words,) * reasons)


def proof(words: str = "doing nothing solves it", checks: int = 1) -> Proof:
    failed = CheckResult(name="not_vacuous", outcome=CheckOutcome.FAILED, evidence=words)
    return Proof(task_id="ab" * 16, checks=(failed,) * checks)


def rollout(words: str = "done", turns: int = 1) -> Rollout:
    refused = (ToolResult(ok=False, error=words),)
    turn = Turn(
        index=0, context_ids=(1,), completion_ids=(2,), logprobs=(-1.0,), text=words, finish_reason="stop",
        prompt_tokens=1, completion_tokens=1, latency_s=0.5, cost_usd=0.002, results=refused,
    )  # fmt: skip
    return Rollout(
        campaign="demo", iteration=0, purpose="training", task_id="t", environment_id="e", domain=words, policy_id="p",
        sample=0, seed=0, toolbox=task().toolbox, turns=(turn,) * turns, outcome=Outcome.FAILED, reasons=(words,),
        stop_reason=StopReason.ANSWERED, answer=words,
    )  # fmt: skip


def batch(words: str = "demo-0001", _: int = 1) -> Batch:
    return Batch("c0ffee" * 5, "rollouts", words, words, "code", "run", datetime(2026, 3, 2), 160)


def spec(words: str = "shop", tools: int = 1) -> EnvironmentSpec:
    shop = shop_spec()
    tool = shop.tools[0].model_copy(update={"name": words, "description": words})
    return shop.model_copy(update={"domain": words, "title": words, "tools": (tool,) * tools})


MAKERS = [spec, task, verdict, proof, rollout, batch]


@pytest.mark.parametrize("maker", MAKERS)
def test_hostile_text_makes_no_markup_and_no_control_characters_and_stays_short(maker: Callable[..., Any]) -> None:
    shown = maker(HOSTILE, 200)
    line, page = repr(shown), shown._repr_html_()
    assert str(shown) == line
    assert line.isprintable() and len(line) <= LINE
    tags = Tags(page)
    assert tags.open == [] and {tag for tag, _ in tags.seen} == TAGS
    assert {attributes for _, attributes in tags.seen} <= {"", "colspan"}
    assert all(text.isprintable() and len(text) <= CELL for text in tags.texts)
    assert page.count("<tr>") <= 2 * (ROWS + 2) and len(page) < 250_000


@pytest.mark.parametrize(
    ("maker", "line"),
    [
        (spec, r"EnvironmentSpec\(shop, shop, \d tables, \d+ rows, 1 tool\)"),
        (task, r"Task\(\w{8}, Cancel my order\., 1 call, Cancel my order\.\)"),
        (verdict, r"Verdict\(failed, not told: the price\)"),
        (proof, r"Proof\(abababab, failed not_vacuous, 1 check\)"),
        (rollout, r"Rollout\(\w{8}, done, failed, 1 turn, 0\.002 USD, done\)"),
        (batch, r"Batch\(rollouts\[demo-0001\], 160 rows, c0ffeec0\)"),
    ],
)
def test_a_record_is_named_by_what_a_person_looks_for(maker: Callable[..., Any], line: str) -> None:
    assert re.fullmatch(line, repr(maker()))


def test_tables_have_the_records_own_rows_and_count_those_left_out() -> None:
    texts = Tags(spec(tools=ROWS + 5)._repr_html_()).texts
    assert {table.name for table in shop_spec().tables} <= set(texts) and "… and 5 more" in texts
    assert Tags(verdict()._repr_html_()).texts == ["Verdict: failed", "reason", "not told: the price"]
    assert Tags(proof()._repr_html_()).texts[-3:] == ["not_vacuous", "failed", "doing nothing solves it"]
    assert "Cancel my order." in Tags(task()._repr_html_()).texts
    assert Tags(rollout()._repr_html_()).texts[-4:-2] == ["0", "done"]
    assert {"rollouts", "demo-0001", "160"} <= set(Tags(batch()._repr_html_()).texts)


def test_what_is_proven_and_solved_says_so() -> None:
    with Environment.load(shop_spec()) as shop:
        [first, *_] = shop_tasks(shop)
        assert re.fullmatch(r"Proof\(\w{8}, accepted, 12 checks\)", repr(prove(first, shop)))
        assert repr(shop.judge(first, first.golden, first.golden_answer)) == "Verdict(solved)"
        taskset = Taskset({shop.id: shop}, (first,), {first.id: "train"})
        assert repr(taskset) == f"Taskset(1 task, {shop.spec.domain})"
