"""What the seal puts in place of SQLite's own functions answers alike, and its budgets end what they should."""

from collections.abc import Callable
from itertools import count

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs import seal
from envs.base_state import BaseState
from envs.environment import Environment
from envs.errors import EnvironmentBroken, SpecError
from envs.functions import COMPARING
from envs.seal import MAX_VALUE_BYTES
from envs.spec import Guard, Returns, Tool
from envs.state import open_state
from tests.fixtures import call, shop_spec

_SEALED = open_state(BaseState.build(shop_spec()))
_PLAIN = apsw.Connection(":memory:")
VALUES = (
    st.none()
    | st.text(alphabet="ab -é0%_*[]?", max_size=8)
    | st.integers(-1000, 1000)
    | st.floats(-1e3, 1e3)
    | st.binary(max_size=4)
)
CALLS = st.one_of(
    [
        st.tuples(st.just(name), st.lists(VALUES, min_size=count, max_size=count))
        for name, counts in COMPARING.items()
        for count in counts
    ]
)


def outcome(run: Callable[[], list[tuple]]) -> list[tuple] | str:
    try:
        return run()
    except (apsw.Error, EnvironmentBroken, UnicodeDecodeError):
        return "an error"


@given(CALLS)
def test_a_bounded_function_answers_like_sqlites_own(written: tuple[str, list]) -> None:
    name, arguments = written
    sql = f"SELECT {name}({', '.join(f':a{place}' for place in range(len(arguments)))})"
    bindings = {f"a{place}": argument for place, argument in enumerate(arguments)}
    own = outcome(lambda: _PLAIN.execute(sql, bindings).fetchall())
    assert outcome(lambda: _SEALED.run(sql, bindings)) == own


@pytest.mark.parametrize("name", COMPARING)
def test_no_function_compares_a_long_text_with_a_long_one(name: str) -> None:
    rest = ", 'x'" * (max(COMPARING[name]) - 2)
    with pytest.raises(EnvironmentBroken, match=rf"{name}\(\) is asked to compare .* shorten one"):
        _SEALED.run(f"SELECT {name}(:long, :long || 'y'{rest})", {"long": "x" * 60_000})


@pytest.mark.parametrize("name", COMPARING)
def test_a_function_that_takes_long_looks_at_the_clock_between_two_calls(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step of a statement may hold hundreds of calls, and SQLite looks only between steps."""
    clock = count()
    monkeypatch.setattr(seal, "monotonic", lambda: next(clock))
    rest = ", 'x'" * (max(COMPARING[name]) - 2)
    with pytest.raises(EnvironmentBroken, match="it took longer than 3 s"):
        _SEALED.run(f"SELECT {', '.join([f'{name}(:text, :text{rest})'] * 5)}", {"text": "x"})


@pytest.mark.parametrize("name", ["median", "percentile", "percentile_cont", "percentile_disc", "unknown", "random"])
def test_a_function_that_nothing_bounds_is_refused_by_name(name: str) -> None:
    with pytest.raises(EnvironmentBroken, match=rf"function {name}\(\)|no such function: {name}"):
        _SEALED.run(f"SELECT {name}(quantity{', 0.5' if 'perc' in name else ''}) FROM orders", {})


def test_steps_that_are_few_and_slow_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "STEP_BUDGET", 10**12)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    with pytest.raises(EnvironmentBroken, match="it took longer than 3 s"):
        _SEALED.run(f"{numbers} SELECT sum(length(hex(printf('%.40000c', i)))) FROM n", {})
    assert _SEALED.run("SELECT count(*) FROM orders", {}) == [(5,)]


@pytest.mark.parametrize(
    "rest",
    [
        "SELECT count(DISTINCT t) FROM n",
        "SELECT length(json_group_array(t)) FROM n",
        "SELECT count(m) FROM (SELECT max(t) OVER (ORDER BY i ROWS BETWEEN 3000 PRECEDING AND CURRENT ROW) m FROM n)",
        "SELECT t FROM n ORDER BY length(t), t LIMIT 1 OFFSET 2999",
        "SELECT count(*) FROM (SELECT t FROM n EXCEPT SELECT id FROM orders)",
    ],
)
def test_rows_that_a_statement_keeps_aside_are_bounded(rest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "MAX_STATEMENT_BYTES", 4 << 20)
    numbers = "WITH RECURSIVE n(i, t) AS (SELECT 1, '' UNION ALL SELECT i + 1, hex(i) || printf('%.9000c', 'x') FROM n"
    with pytest.raises(EnvironmentBroken, match="it took more than 4 MiB of memory"):
        _SEALED.run(f"{numbers} LIMIT 3000) {rest}", {})
    assert _SEALED.run("SELECT count(*) FROM orders", {}) == [(5,)]


def test_all_statements_of_a_call_share_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards, effects and answer together, of which none alone takes too long."""
    clock = count()
    monkeypatch.setattr(seal, "monotonic", lambda: next(clock))
    guards = (Guard(sql="SELECT count(*) FROM orders", message=""),) * 30
    slow = Tool(name="slow", description="", guards=guards, returns=Returns(sql="SELECT 1 AS done"))
    with Environment.load(shop_spec(tools=(*shop_spec().tools, slow))) as environment:
        replay = environment.replay([call("slow")])
        assert replay.broken is not None and "the call took longer than 10 s in all" in replay.broken
        assert environment.replay([call("cancel_order", order_id="ORD-1")]).broken is None


def test_a_row_longer_than_any_answer_may_be_is_refused_at_load() -> None:
    rows = {**shop_spec().rows, "customers": (("CUS-1", "x" * MAX_VALUE_BYTES, "ada@example.org", "Turin"),)}
    with pytest.raises(SpecError, match=r"rows.customers\[0\]: is longer than a row may be"):
        Environment.load(shop_spec(rows=rows))
