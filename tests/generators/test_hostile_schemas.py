"""Answers that obey every schema and mean nothing: an environment that is sound, or a stage that fails saying so."""

import json
from collections.abc import Callable

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from generators.domain import synthesise
from generators.stage import StageFailed
from serving.endpoint import ChatRequest
from tests.generators.rental import BRIEF, NAMES, ORDER, SQL, assert_sound, entities, good
from tests.generators.scripted import Scripted

NAME = st.one_of(
    st.from_regex(r"\A[a-z][a-z_]{1,20}\Z"),
    st.sampled_from(["status", "state", "order_id", "group", "price", "due_date", "email", "name", "is_x", "quantity"]),
)
ANYTHING = st.one_of(st.text(max_size=30), st.sampled_from([ORDER, SQL, "{rider_id}", "\x00", "free", "rented", "1"]))


def proposed_columns(known: list[str]) -> st.SearchStrategy[str]:
    kinds = st.sampled_from(["text", "choice", "number", "money", "date", "yes_no", "reference"])
    more = {"values": st.lists(ANYTHING, max_size=6), "refers_to": st.sampled_from(["none", *known])}
    column = st.fixed_dictionaries(
        {"name": st.one_of(NAME, st.sampled_from([f"{k}_id" for k in ("id", *known)])), "kind": kinds, **more}
    )
    return st.lists(column, min_size=3, max_size=7).map(lambda made: json.dumps({"columns": made}))


def drawn(data: st.DataObject) -> Callable[[ChatRequest], str]:
    """A synthesist whose answers all obey their schemas and mean nothing."""
    names = data.draw(st.lists(NAME.filter(lambda name: len(name) > 2), min_size=3, max_size=5))

    def answer(request: ChatRequest) -> str:
        schema = request.response_schema or {}
        match request.template:
            case "entities":
                return entities(*names, description=data.draw(st.text(max_size=40)))
            case "columns":
                known = schema["$defs"]["ProposedColumn"]["properties"]["refers_to"]
                return data.draw(proposed_columns([n for n in known.get("enum", []) if n != "none"]))
            case "values":
                return json.dumps({"values": [*NAMES[:10], *data.draw(st.lists(ANYTHING, max_size=6))]})
            case "lifecycle":
                states = schema["$defs"]["Action"]["properties"]["becomes"]["enum"]
                verb = st.one_of(st.from_regex(r"\A[a-z]{3,12}\Z"), st.sampled_from(["move", "find", "set", "total"]))
                some = st.lists(st.sampled_from(states), min_size=1, max_size=3)
                step = st.fixed_dictionaries({"verb": verb, "allowed_from": some, "becomes": st.sampled_from(states)})
                return json.dumps(
                    {"actions": data.draw(st.lists(step, min_size=1, max_size=4)), "editable_while": data.draw(some)}
                )
        return good(request)

    return answer


@settings(max_examples=40, derandomize=True, database=None, phases=[Phase.generate])
@given(st.data())
def test_whatever_obeys_the_schemas_is_an_environment_or_a_failed_stage(data: st.DataObject) -> None:
    llm = Scripted(drawn(data))
    try:
        made = synthesise(BRIEF, "bikes", llm)
    except StageFailed:
        return
    assert_sound(made.spec)
