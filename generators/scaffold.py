"""`envloom domain new`: a domain that works as it is, with comments that say what to change and why."""

import re
from keyword import iskeyword
from pathlib import Path

from generators.brief import NAME, DomainError
from generators.discovery import domain_names, project_folders
from generators.hooks import FILE

PAGE = """\
# A domain: one page of brief. Change what stands here; see docs/adding-a-domain.md. Check it with
#   envloom domain check {name}

title: "{title}"

# Who is served, with what, and what people ask for at the help desk: two to ten sentences, given to every prompt.
# Name the things that are kept track of, and how their status moves.
description: >
  A help desk serves the customers of a small service. Customers book one offer at a time. A booking is requested, then
  confirmed and completed, or it is cancelled before. The desk answers questions on offers, prices and bookings, keeps
  the contact details of customers up to date, and moves bookings along.

# What is kept track of, those first that others refer to. Say the columns in words: money is a price, an amount or a
# total; a choice lists its values in brackets; a status lists them in the order of its life. Without this field the
# entities are proposed by the model.
entities:
  customer: a person with a name, an email, a phone and a city
  offer: something to book, with a title, a category (basic, comfort, luxury) and a price
  booking: >
    one offer booked by one customer, with a quantity, a total, a booking date
    and a status (requested, confirmed, completed, cancelled)

# From which status it moves to which; each sentence names its entity. They become guards of tools and refusals.
rules:
  - A requested booking can be confirmed; a confirmed booking can be completed.
  - A requested or confirmed booking can be cancelled.

# rows: of each table that refers to others; tools: how many at least; tasks: candidates, of which most are proven.
sizes: {{ rows: 60, tools: 20, tasks: 120 }}

# clock: 2026-03-02T09:00:00   # the frozen present, 1900 to 2199; dates stand around it
# seed: 0                      # another seed, other rows and tasks from the same answers of the model
# answers_seed: 0              # another one, other answers: record again
"""

HOOKS = '''\
"""What {title} adds to its brief in Python. Leave out what you do not need; see docs/adding-a-domain.md.

All of it must depend on its arguments only: take chance from `context.rng` and `rng`, and the date from the clock.
"""

import random
from collections.abc import Iterable, Sequence

from envs.environment import Environment
from envs.spec import Guard, Parameter, Program, Returns, Table, Tool  # noqa: F401  what tools are made of
from envs.task import Fact
from generators.hooks import Hooks, Row, RowContext, TaskDraft, call
from generators.tables import Schema


class {class_name}(Hooks):
    def rows(self, table: Table, context: RowContext) -> Sequence[Row] | None:
        """Rows of one table. None keeps what is generated; a row without `id` is given one."""
        # if table.name == "customer":
        #     return [{{**row, "city": context.rng.choice(["Oslo", "Bergen"])}} for row in context.generated]
        return None

    def tools(self, schema: Schema) -> Sequence[Tool]:
        """Tools beside those that follow from the tables."""
        # customer = Parameter(name="customer_id", type="string", description="customer id", source="customer.id")
        # exists = Guard(sql="SELECT 1 FROM customer WHERE id = :customer_id", message="there is no {{customer_id}}")
        # sql = "SELECT count(*) AS bookings FROM booking WHERE customer_id = :customer_id"
        # about = "Count the bookings of one customer."
        # return [
        #     Tool(
        #         name="count_bookings", description=about, parameters=(customer,), guards=(exists,),
        #         returns=Returns(sql=sql, shape="scalar"),
        #     )
        # ]
        return ()

    def tasks(self, environment: Environment, rng: random.Random) -> Iterable[TaskDraft]:
        """Tasks of your own: a request, the calls that fulfil it, and the facts that the answer must tell."""
        # for row in environment.query("SELECT id, city FROM customer ORDER BY id LIMIT 5"):
        #     yield TaskDraft(
        #         instruction=f"In which city does customer {{row['id']}} live?",
        #         golden=(call("get_customer", customer_id=row["id"]),),
        #         facts=(Fact(label=f"city of {{row['id']}}", kind="text", value=row["city"]),),
        #     )
        return ()
'''


def scaffold(name: str, *, hooks: bool = False, parent: Path | None = None) -> list[Path]:
    """The files of a new domain in `parent` (or the first of the project's folders), with `hooks` also its Python.

    Raises DomainError if the name is taken or is no name, or the folder cannot be written.
    """
    if not re.fullmatch(NAME, name):
        raise DomainError(f"'{name}' must be lower case letters, digits and underscores, such as car_rental.")
    folder = (parent or project_folders()[0]) / name
    if (folder / "domain.yaml").exists() or name in domain_names():
        raise DomainError(f"{folder}: domain '{name}' exists already. Edit it, or choose another name.")
    title = name.replace("_", " ").strip().capitalize()
    title = title if len(title) > 2 else f"{title} service"  # `title` takes three letters
    texts = {"domain.yaml": PAGE.format(name=name, title=title)}
    if hooks:
        class_name = title.title().replace(" ", "")
        texts[FILE] = HOOKS.format(
            title=title, class_name=f"{class_name}Hooks" if iskeyword(class_name) else class_name
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DomainError(f"{folder}: cannot be written: {error.strerror}. Choose another name or folder.") from error
    return [folder / file for file in texts]
