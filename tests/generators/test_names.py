"""Names decide what a column is and what tools are called: words count as words, and no two tools share a name."""

import json

import pytest

from envs.environment import Environment
from envs.spec import Column, EnvironmentSpec, Table
from generators.brief import Brief, Sizes
from generators.names import plural, singular
from generators.rows import fill_rows
from generators.tables import Schema, propose_tables
from generators.tools import compile_tools
from tests.generators.scripted import Scripted

BRIEF = Brief(
    title="Store room",
    description="A store room whose things are kept in boxes, looked up and counted by those who work there.",
    entities={"shelf": "a shelf with a name", "box": "a box on a shelf"},
    sizes=Sizes(rows=8, tools=60),
)


@pytest.mark.parametrize(
    ("column", "asked", "kind"),
    [
        ("language", "text", "label"), ("language", "choice", "category"), ("message", "text", "label"),
        ("age", "number", "count"), ("user_rating", "text", "count"), ("candidate", "text", "label"),
        ("order_date", "text", "past_date"), ("vendor_date", "date", "past_date"),
        ("expiry_date", "date", "future_date"), ("coffee", "text", "label"),
        ("late_fee", "number", "money"), ("price_per_night", "number", "money"),
        ("microphone", "text", "label"), ("mobile_phone", "text", "phone"), ("guide_person", "text", "person_name"),
    ],
)  # fmt: skip
def test_a_column_is_what_the_words_of_its_name_say(column: str, asked: str, kind: str) -> None:
    proposed = {"name": column, "kind": asked, "values": ["first", "second"] if asked == "choice" else []}
    others = [{"name": "width", "kind": "number"}, {"name": "is_full", "kind": "yes_no"}]
    schema, _, _ = propose_tables(BRIEF, "store", Scripted(lambda _: json.dumps({"columns": [proposed, *others]})))
    assert schema.kinds["box", column if kind != "money" else f"{column}_cents"] == kind


@pytest.mark.parametrize(
    ("one", "several"),
    [("order", "orders"), ("city", "cities"), ("class", "classes"), ("box", "boxes"), ("day", "days"),
     ("branch", "branches"), ("news", "newses"), ("bus", "buses"), ("address", "addresses"), ("drive", "drives")],
)  # fmt: skip
def test_one_of_several_and_back(one: str, several: str) -> None:
    assert plural(one) == several
    assert singular(one) == one
    assert one in ("news", "bus") or singular(several) == one


@pytest.mark.parametrize(
    ("one", "several"),
    [("person", "people"), ("child", "children"), ("diagnosis", "diagnoses"), ("book_shelf", "book_shelves"),
     ("series", "serieses"), ("equipment", "equipments"), ("campus", "campuses"), ("lens", "lenses")],
)  # fmt: skip
def test_several_have_a_name_that_people_use_and_never_that_of_one(one: str, several: str) -> None:
    assert plural(one) == several


@pytest.mark.parametrize(
    "names",
    [("class", "classe"), ("order", "order_item"), ("a" * 21, "b" * 21), ("x" * 31, "y" * 31), ("table", "where")],
)
def test_tools_of_any_tables_have_names_of_their_own_that_are_not_too_long(names: tuple[str, str]) -> None:
    first, second = names
    columns = (Column(name="kind", type="enum", values=("a", "b")), Column(name="item_count", type="integer"))
    reference = Column(name=f"{first}_id", type="text", references=first)
    status = Column(name="status", type="enum", values=("open", "closed"))
    tables = (
        Table(name=first, id_prefix="A", columns=columns),
        Table(name=second, id_prefix="B", columns=(reference, Column(name="count", type="integer"), *columns, status)),
    )
    kinds = {"kind": "category", "item_count": "count", "count": "count", "status": "status"}
    schema = Schema(tables, {(t.name, c.name): kinds.get(c.name, "reference") for t in tables for c in t.columns})
    tools = tuple(compiled.tool for compiled in compile_tools(BRIEF, schema, {}, "store"))
    spec = EnvironmentSpec(
        domain="store",
        title=BRIEF.title,
        policy="",
        tables=tables,
        rows=fill_rows(BRIEF, schema, {}, "store"),
        tools=tools,
        clock=BRIEF.clock,
        seed=0,
    )
    assert set(Environment.load(spec).tools) >= {f"get_{first}", f"get_{second}", f"set_{second}_kind"}
