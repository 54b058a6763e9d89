"""A synthesist for documents that answers from a script, in the words that a small model would find."""

import json
import re

from serving.endpoint import ChatRequest

COLUMNS = {
    "artist": {"name": "text", "birth_date": "date", "home_city": "text", "style": ["realism", "cubism"]},
    "collector": {"name": "text", "home_city": "text", "joining_date": "date", "is_alive": "yes_no"},
    "gallery": {"title": "text", "city": "text", "founding_date": "date", "room_count": "number"},
    "exhibition": {
        "title": "text", "gallery_id": "reference", "opening_date": "date", "visitor_count": "number",
        "ticket_price": "money",
    },
    "painting": {
        "title": "text", "artist_id": "reference", "exhibition_id": "reference", "collector_id": "reference",
        "technique": ["oil", "acrylic", "tempera"], "purchase_date": "date", "insured_amount": "money",
    },
}  # fmt: skip
FIRST = [
    "Silent", "Golden", "Northern", "Winter", "Crimson", "Broken", "Distant", "Hidden", "Marble", "Velvet", "Amber",
]  # fmt: skip
SECOND = {
    "gallery": ["House", "Hall", "Rooms", "Court", "Loft", "Tower", "Wing", "Pavilion", "Arcade", "Studio", "Yard"],
    "exhibition": ["Visions", "Echoes", "Seasons", "Traces", "Voices", "Shadows", "Mirrors", "Letters", "Horizons"],
    "painting": ["Harbour", "Garden", "Orchard", "Meadow", "Window", "River", "Lantern", "Field", "Dancer", "Mill"],
}  # fmt: skip


def archivist(request: ChatRequest) -> str:
    """The answer to one request, made of its last line."""
    asked = request.messages[1].content.strip().splitlines()[-1]
    return json.dumps(_ANSWERS[request.template](asked)) if request.template in _ANSWERS else "no idea"


def _columns(asked: str) -> object:
    found = COLUMNS[_in(r"Table (\w+)", asked)[0]]
    kinds = [(name, kind if isinstance(kind, str) else "choice", kind) for name, kind in found.items()]
    return {
        "columns": [
            {"name": name, "kind": kind, **({"values": values} if kind == "choice" else {})}
            for name, kind, values in kinds
        ]
    }


def _titles(asked: str) -> object:
    return {"first": FIRST, "second": SECOND[_in(r"Titles of an? (\w+)", asked)[0]]}


def _facts(asked: str) -> object:
    what, value, thing = _in(r"The (.+) (\{\w+\}) of an? .*(\{\w+\})\.", asked)
    return {
        "statements": [
            f"The {what} of {thing} is {value}.",
            f"{thing} has the {what} {value}.",
            f"{thing} is well known for the {what} {value}.",
        ],
        "questions": [f"What is the {what} of {thing}?", f"Which {what} does {thing} have?"],
    }


def _links(asked: str) -> object:
    one, how, noun, owner, many, nouns = _in(
        r"(\{\w+\}) is an? \w+, (\w+ \w+) one (\w+), (\{\w+\})\. (\{\w+\}) are the (.+) of one", asked
    )
    return {
        "statements": [f"{one} was {how} the {noun} {owner}.", f"The {noun} by whom {one} was {how} is {owner}."],
        "phrases": [f"the {noun} of {one}", f"the {noun} that goes with that {how.split()[0]} {one}"],
        "listings": [f"{many} were {how} the {noun} {owner}."],
        "groups": [f"the {nouns} of {owner}", f"the {nouns} {how} {owner}"],
        "counts": [f"How many {nouns} were {how} {owner}?", f"What is the number of {nouns} {how} {owner}?"],
    }


def _pairs(asked: str) -> object:
    [what] = _in(r"The (.+) of \{first\}", asked)
    either = "that of {first} or that of {second}?"
    if '"later"' in asked:
        between = f"How many days lie between the {what} of {{first}} and the {what} of {{second}}?"
        return {"later": [f"What is the later {what}, {either}"], "between": [between]}
    both = f"What is the {what} of {{first}} and {{second}} together?"
    return {"higher": [f"Which is the higher {what}, {either}"], "together": [both]}


def _in(pattern: str, asked: str) -> tuple[str, ...]:
    match = re.search(pattern, asked)
    assert match is not None, asked
    return match.groups()


_ANSWERS = {
    "columns": _columns,
    "document_titles": _titles,
    "document_facts": _facts,
    "document_links": _links,
    "document_pairs": _pairs,
    "policy": lambda _: {"introduction": "You help the readers of an art archive with their questions."},
}
