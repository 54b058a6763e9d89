"""What the seal puts in place of SQLite's own functions answers alike, and its budgets end what they should."""

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs import seal
from envs.base_state import BaseState
from envs.environment import Environment
from envs.errors import EnvironmentBroken, SpecError
from envs.seal import MAX_TRIMMED, MAX_VALUE_BYTES
from envs.state import open_state
from tests.fixtures import shop_spec

_SEALED = open_state(BaseState.build(shop_spec()))
_PLAIN = apsw.Connection(":memory:")
TEXTS = st.none() | st.text(alphabet="ab -é0", max_size=8) | st.integers(-1000, 1000)


@given(TEXTS, TEXTS, st.sampled_from(["trim", "ltrim", "rtrim"]))
def test_trim_answers_like_sqlites_own(text: str | int | None, characters: str | int | None, function: str) -> None:
    sql, bindings = f"SELECT {function}(:text, :characters)", {"text": text, "characters": characters}
    assert _SEALED.run(sql, bindings) == _PLAIN.execute(sql, bindings).fetchall()


@pytest.mark.parametrize("sql", ["SELECT trim('x', 1.5)", "SELECT trim(x'00', 'x')", "SELECT trim('x', :long)"])
def test_trim_takes_text_and_few_characters(sql: str) -> None:
    with pytest.raises(EnvironmentBroken, match="trim takes"):
        _SEALED.run(sql, {"long": "x" * (MAX_TRIMMED + 1)})


def test_steps_that_are_few_and_slow_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "STEP_BUDGET", 10**12)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    with pytest.raises(EnvironmentBroken, match="too many steps or for too long"):
        _SEALED.run(f"{numbers} SELECT sum(length(hex(printf('%.40000c', i)))) FROM n", {})
    assert _SEALED.run("SELECT count(*) FROM orders", {}) == [(5,)]


def test_a_row_longer_than_any_answer_may_be_is_refused_at_load() -> None:
    rows = {**shop_spec().rows, "customers": (("CUS-1", "x" * MAX_VALUE_BYTES, "ada@example.org", "Turin"),)}
    with pytest.raises(SpecError, match=r"rows.customers\[0\]: is longer than a row may be"):
        Environment.load(shop_spec(rows=rows))
