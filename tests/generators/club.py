"""A club as the synthesis compiles it, and words for it that no model wrote."""

from envs.environment import Environment
from envs.spec import Column, EnvironmentSpec, Table
from generators.brief import Brief, Sizes
from generators.phrases import Phrasing, asks
from generators.policy import WHEN_REFUSED, rules_of
from generators.rows import fill_rows
from generators.tables import Schema
from generators.tools import Lifecycle, Transition, compile_tools
from generators.wording import Wording, worded_plainly


def club_spec() -> EnvironmentSpec:
    """A club as the synthesis compiles it, from tables and a lifecycle written by hand."""
    member = Table(name="member", id_prefix="M", columns=(Column(name="name", type="text"),))
    booking = Table(
        name="booking",
        id_prefix="B",
        columns=(
            Column(name="member_id", type="text", references="member"),
            Column(name="fee_cents", type="cents"),
            Column(name="seats", type="integer"),
            Column(name="booking_date", type="date"),
            Column(name="play_date", type="date"),
            Column(name="status", type="enum", values=("asked", "confirmed", "played", "cancelled")),
        ),
    )
    note = Table(name="note", id_prefix="N", columns=(Column(name="member_id", type="text", references="member"),))
    kinds = {("member", "name"): "person_name", ("note", "member_id"): "reference"}
    kinds |= {
        ("booking", c.name): k
        for c, k in zip(
            booking.columns, ("reference", "money", "count", "past_date", "future_date", "status"), strict=True
        )
    }
    schema = Schema((member, booking, note), kinds)
    brief = Brief(
        title="Club",
        description="A club whose members book courts and leave notes at the desk.",
        sizes=Sizes(rows=30, tools=40),
    )
    lifecycle = Lifecycle(
        (Transition("confirm", ("asked",), "confirmed"), Transition("cancel", ("asked", "confirmed"), "cancelled")),
        ("asked", "confirmed"),
    )
    compiled_tools = compile_tools(brief, schema, {"booking": lifecycle}, "club")
    rules = rules_of({compiled.tool.name: compiled.operation for compiled in compiled_tools})
    return EnvironmentSpec(
        domain="club",
        title="Club",
        policy="\n".join(f"- {rule}" for rule in rules) + WHEN_REFUSED,
        tables=schema.tables,
        rows=fill_rows(brief, schema, {}, "club"),
        tools=tuple(compiled.tool for compiled in compiled_tools),
        clock=brief.clock,
        seed=1,
    )


def plain_wording(environment: Environment) -> Wording:
    return worded_plainly(plain_phrasings(environment))


def plain_phrasings(environment: Environment) -> dict[str, Phrasing]:
    """For each tool its plain description with the placeholders, as a model would have worded it."""
    return {
        ask.tool.name: Phrasing(
            tool=ask.tool.name,
            patterns=(
                f"Please {ask.tool.name.replace('_', ' ')}: {' '.join(f'{{{p}}}' for p in ask.placeholders)}.",
                f"I want to {ask.tool.name.replace('_', ' ')} {' '.join(f'{{{p}}}' for p in ask.placeholders)}.",
            ),
            call_id="c" * 32,
        )
        for ask in asks(environment.spec)
    }
