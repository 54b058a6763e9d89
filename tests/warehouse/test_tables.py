"""Columns are told once: their meaning reaches datasets and the documentation, and a line that is wrong is refused."""

import pytest

from warehouse.columns import Table, columns, define_table
from warehouse.export.columns import stored
from warehouse.pages import DOCS, parts, written_anew
from warehouse.tables import TABLES


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_table_and_column_has_a_meaning(table: Table) -> None:
    assert set(table.key) <= set(table.columns)
    for meaning in (table.meaning, *(column.meaning for column in table.columns.values())):
        assert len(meaning) > 4 and meaning.endswith(".")


@pytest.mark.parametrize("page", parts())
def test_the_committed_page_is_what_the_columns_say(page: str) -> None:
    committed = (DOCS / page).read_text(encoding="utf-8")
    assert committed == written_anew(committed, parts()[page]), "run python -m warehouse.pages"


def test_a_page_without_the_marks_of_a_part_is_refused() -> None:
    assert written_anew("a\n<!-- begin x -->\nold\n<!-- end x -->\nb", {"x": "new"}) == (
        "a\n<!-- begin x -->\nnew\n<!-- end x -->\nb"
    )
    with pytest.raises(ValueError, match='0 parts "y"'):
        written_anew("a", {"y": "new"})


def test_a_column_leaves_with_the_meaning_it_has_in_the_warehouse() -> None:
    [domain, logprobs] = (*stored("tasks", "domain"), *stored("turns", "logprobs"))
    assert domain is TABLES["tasks"].columns["domain"]
    assert list(logprobs.documented()) == [("logprobs", "list of float", TABLES["turns"].columns["logprobs"].meaning)]
    with pytest.raises(KeyError):
        stored("tasks", "mood")


@pytest.mark.parametrize("lines", ["id text Name.\nnew int? New.\nold int Old.", "id text? Name."])
def test_an_added_column_is_last_and_not_part_of_the_key(lines: str) -> None:
    with pytest.raises(ValueError, match="come last"):
        define_table("tools", "A tool.", lines)


def test_a_type_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match='column id: type "string" is unknown; use one of text'):
        columns("id string Name.")
