"""Stages `entities` and `columns`: the brief becomes tables. The model proposes; the rules here make it a sound schema.

Normalisation is explicit: names become identifiers, money becomes integer cents, references are kept acyclic.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from envs.spec import Column, ColumnType, Table
from envs.task import Rejection
from generators.brief import Brief
from generators.names import singular
from generators.plain import orders_its_reader, printable
from generators.stage import Corrected, Correction, Llm, Refused, Stage, one_of, run_stage

Asked = Literal["text", "choice", "number", "money", "date", "yes_no", "reference"]
"""What the model calls a column: few and plain words, since small models copy a long list instead of choosing."""
KINDS = {
    "text": "label", "choice": "category", "number": "count", "money": "money", "date": "past_date", "yes_no": "flag",
    "reference": "reference",
}  # fmt: skip
"""What we make of it, unless the name of the column says more."""
IMPLIED = (
    (r"(^|_)e?mail", "email"), (r"(^|_)(tele)?phone", "phone"), (r"(^|_)city$", "city"), (r"address", "address"),
    (r"(^|_)(status|state)$", "status"),
    (r"(^|_)(sub)?(price|amount|total|cost|fee|balance|salary)s?(_|$)", "money"),
    (r"(^|_)(quantity|stock|count|capacity|copies|pages|rating|age|year)$", "count"), (r"^(is|has)_", "flag"),
    (r"(^|_)(due|expir|end|until|deliver).*(date|_on|_at)$|^due(_|$)", "future_date"),
    (r"((^|_)date|_on|_at)$", "past_date"),
    (r"(^|_)(category|genre|type|brand|language|role|level|method|reason)$", "category"),
    (r"(^|_)(author|artist|director|teacher|doctor|trainer|driver|chef|coach|person)$", "person_name"),
    (r"(^|_)(isbn|code|number|serial|sku)$", "code"),
)  # fmt: skip
COLUMN_TYPES: dict[str, ColumnType] = {
    "person_name": "text", "email": "text", "phone": "text", "city": "text", "address": "text", "label": "text",
    "code": "text", "category": "enum", "status": "enum", "count": "integer", "money": "cents", "past_date": "date",
    "future_date": "date", "flag": "boolean", "reference": "text",
}  # fmt: skip
PEOPLE = re.compile(r"person|people|customer|member|user|patient|student|client|guest|passenger|employee|staff")
MAX_COLUMNS = 7
RESERVED = {"id", "rowid", "oid", "new_id", "today", "now", "order_by", "group", "select", "values", "index"}
NOT_A_TABLE = re.compile(r"^(.{0,2}|new|sqlite_.*)$")
"""`new` would give its rows' parameter the name of the id that is minted; SQLite keeps names for itself."""
BOOKKEEPING = re.compile(r"^(is_)?deleted$|^(created|updated|deleted|modified)(_at|_on|_date)?$")
"""Columns that databases have and nobody asks about."""


class Entities(BaseModel):
    """Answer of stage `entities`."""

    class Entity(BaseModel):
        name: str = Field(pattern=r"^[a-z][a-z_]{2,20}$")
        description: str = Field(max_length=120)

    entities: list[Entity] = Field(min_length=2, max_length=8)


@dataclass(frozen=True)
class Entity:
    """An entity to be given columns, with the others it may refer to: those named before it."""

    name: str
    hint: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class Proposed:
    """A column as proposed: its kind decides its type and how rows are filled."""

    name: str
    kind: str
    values: tuple[str, ...] = ()
    refers_to: str = ""


@dataclass(frozen=True)
class Schema:
    """Tables in an order in which each refers only to earlier ones, with the kind of every column."""

    tables: tuple[Table, ...]
    kinds: dict[tuple[str, str], str]
    """(table, column) → kind."""

    def without(self, dropped: set[str]) -> "Schema":
        """This schema less the columns named `table.column`."""
        tables = tuple(
            table.model_copy(
                update={"columns": tuple(c for c in table.columns if f"{table.name}.{c.name}" not in dropped)}
            )
            for table in self.tables
        )
        return Schema(tables, self.kinds)


def propose_tables(brief: Brief, domain: str, llm: Llm) -> tuple[Schema, list[Rejection], list[str]]:
    """The tables of a domain, what was refused on the way, and the ids of the calls used. Raises StageFailed."""
    entities, rejections, used = _entities(brief, domain, llm)
    # An entity may refer to those named before it: so references are acyclic, and point from orders to customers.
    names = list(entities)
    items = [Entity(name, hint, tuple(names[:place])) for place, (name, hint) in enumerate(entities.items())]
    stage: Stage[Entity, tuple[Proposed, ...]] = Stage(
        name="columns",
        key=lambda entity: entity.name,
        prompt=lambda entity: {"brief": brief, "entity": entity},
        response=_columns_response,
        accept=_accept_columns,
        max_tokens=420,
        temperature=0.3,
    )
    answers = run_stage(stage, items, llm, domain, brief.answers_seed)
    used += [answers.made_from[name] for name in answers.accepted]
    return _schema(answers.accepted, entities), [*rejections, *answers.rejections], used


def _entities(brief: Brief, domain: str, llm: Llm) -> tuple[dict[str, str], list[Rejection], list[str]]:
    if brief.entities:
        return brief.entities, [], []

    def accept(_: Brief, answer: Entities) -> Corrected[dict[str, str]]:
        proposed = [(singular(_tidy(entity.name)), printable(entity.description)) for entity in answer.entities]
        unfit = [name for name, hint in proposed if NOT_A_TABLE.match(name) or orders_its_reader(hint)]
        names = {name: hint for name, hint in proposed if name not in unfit}
        if len(names) < brief.sizes.tables:
            raise Refused("too_few_entities", f"name {brief.sizes.tables} different entities; found {list(names)}.")
        corrections = [
            Correction("unusable_entity", f"{name} is no name or no description of a table") for name in unfit
        ]
        if repeated := len(proposed) - len(unfit) - len(names):
            corrections.append(Correction("repeated_entity", f"{repeated} of {len(proposed)} entities"))
        return Corrected(dict(list(names.items())[: brief.sizes.tables]), tuple(corrections))

    stage: Stage[Brief, dict[str, str]] = Stage(
        name="entities",
        key=lambda _: domain,
        prompt=lambda brief: {"brief": brief},
        response=lambda _: Entities,
        accept=accept,
        temperature=0.3,
    )
    result = run_stage(stage, [brief], llm, domain, brief.answers_seed)
    return result.accepted[domain], result.rejections, [result.made_from[domain]]


def _columns_response(entity: Entity) -> type[BaseModel]:
    column = create_model(
        "ProposedColumn",
        name=(str, Field(pattern=r"^[a-z][a-z_]{1,24}$")),
        kind=(Asked, ...),
        values=(list[str], Field(default=[], max_length=6)),
        refers_to=(one_of(("none", *entity.others)), "none"),
    )
    return create_model("Columns", columns=(list[column], Field(min_length=3, max_length=MAX_COLUMNS)))


def _accept_columns(entity: Entity, answer: Any) -> Corrected[tuple[Proposed, ...]]:
    columns: dict[str, Proposed] = {}
    corrections = []
    for proposed in answer.columns:
        column = _normalise(entity, proposed.name, proposed.kind, proposed.values, proposed.refers_to)
        if column is None:
            corrections.append(Correction("unusable_column", f"{entity.name}.{proposed.name} ({proposed.kind})"))
        elif column.name in columns:
            corrections.append(Correction("repeated_column", f"{entity.name}.{proposed.name} is {column.name} again"))
        else:
            columns[column.name] = column
            if column.values and len(column.values) < len(proposed.values):
                kept = f"{len(column.values)} of {len(proposed.values)} values of {entity.name}.{column.name}"
                corrections.append(Correction("unusable_value", f"{kept} are of use"))
    if "status" in entity.hint.split() and not any(column.kind == "status" for column in columns.values()):
        raise Refused("no_status", f"{entity.name} needs a column status of kind choice with its 3 to 5 values.")
    if len(columns) < 2:
        raise Refused("too_few_columns", f"give {entity.name} at least 3 columns besides its id, with different names.")
    for column in columns.values():
        if column.kind in ("category", "status") and len(column.values) < 2:
            raise Refused("no_values", f"column {column.name} is a choice: list its 3 to 5 possible values.")
    return Corrected(tuple(columns.values()), tuple(corrections))


def _normalise(entity: Entity, name: str, asked: str, values: list[str], refers_to: str) -> Proposed | None:
    """The column under the rules of this module; None for what every table has anyway (its id), for a reference to
    nothing and for names that the engine or SQLite keep."""
    name = _tidy(name).removesuffix("_cents")
    if name not in (f"{entity.name}_date", f"{entity.name}_number"):
        name = name.removeprefix(f"{entity.name}_")
    target = next((o for o in entity.others if name in (o, f"{o}_id")), refers_to if refers_to != "none" else "")
    if name in RESERVED or name == entity.name or BOOKKEEPING.match(name) or name.startswith("sqlite_"):
        return None
    if asked == "reference" or name.endswith("_id") or name in entity.others:
        return Proposed(f"{target}_id", "reference", refers_to=target) if target else None
    kind = next((kind for pattern, kind in IMPLIED if re.search(pattern, name)), KINDS[asked])
    if kind == "category" and asked == "text" and not values:
        kind = "label"
    if kind == "label" and name.endswith("name") and PEOPLE.search(f"{entity.name} {entity.hint}"):
        kind = "person_name"
    if kind == "status":
        name = "status"
    if kind == "money":
        name = f"{name}_cents"
    tokens = dict.fromkeys(token for value in values if (token := _token(value)))
    return Proposed(name, kind, tuple(tokens) if kind in ("category", "status") else ())


def _tidy(name: str) -> str:
    return re.sub(r"_+", "_", name).strip("_")


def _token(value: str) -> str:
    """The value as an identifier; nothing if a letter has no place in one, which would leave another word."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", value) if not unicodedata.combining(c))
    if any(letter.isalpha() and not letter.isascii() for letter in plain) or orders_its_reader(plain):
        return ""
    return re.sub(r"[^a-z0-9]+", "_", plain.lower())[:30].strip("_")


def _schema(columns: dict[str, tuple[Proposed, ...]], hints: dict[str, str]) -> Schema:
    """The tables, in an order in which each refers only to earlier ones."""
    # A table that was refused takes the references to it with it.
    kept = {
        name: [column for column in proposed if column.kind != "reference" or column.refers_to in columns]
        for name, proposed in columns.items()
    }
    prefixes: dict[str, str] = {}
    tables = []
    for name in (name for name in hints if name in kept):
        prefixes[name] = _prefix(name, set(prefixes.values()))
        table_columns = tuple(_column(column) for column in kept[name])
        tables.append(Table(name=name, id_prefix=prefixes[name], description=hints[name], columns=table_columns))
    kinds = {(name, column.name): column.kind for name, proposals in kept.items() for column in proposals}
    return Schema(tuple(tables), kinds)


def _column(proposed: Proposed) -> Column:
    return Column(
        name=proposed.name,
        type=COLUMN_TYPES[proposed.kind],
        values=proposed.values,
        references=proposed.refers_to or None,
        unique=proposed.kind == "email",
    )


def _prefix(name: str, taken: set[str]) -> str:
    """The shortest unused run of leading letters, upper case: `O` for order, `OR` if O is taken."""
    letters = name.replace("_", "").upper()
    candidates = [letters[:length] for length in range(1, len(letters) + 1)] + [f"{letters}{n}" for n in range(2, 99)]
    return next(candidate for candidate in candidates if candidate not in taken)
