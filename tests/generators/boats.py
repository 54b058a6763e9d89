"""A domain that is not in the repository: a brief, and a synthesist that answers for it from a script.

What is tested with it is what becomes of the answers; what a real model says is in the recordings that ship.
"""

import json
import re
from datetime import date
from pathlib import Path

from generators.brief import load_brief
from generators.domain import synthesise
from generators.hooked import DomainHooks
from generators.wording import propose_wording
from serving.endpoint import ChatRequest, LlmCall
from tests.generators.scripted import Scripted

PACKAGE = Path(__file__).parents[1] / "distribution" / "harbour"
PAGE = (PACKAGE / "domain.yaml").read_text()
COLUMNS = {
    "skipper": [("name", "text"), ("email", "text"), ("phone", "text"), ("city", "text")],
    "boat": [("title", "text"), ("kind", "choice", ["sail", "motor", "canoe"]), ("price", "money")],
    "rental": [
        ("skipper_id", "reference"),
        ("boat_id", "reference"),
        ("quantity", "number"),
        ("total", "money"),
        ("start_date", "date"),
        ("status", "choice", ["booked", "sailing", "returned", "cancelled"]),
    ],
}
BOATS = ("Albatross", "Sea Breeze", "Grey Seal", "Northern Star", "Little Auk", "Puffin", "Cormorant", "Kittiwake",
         "Old Oak", "Silver Herring", "White Gull", "Blue Whale")  # fmt: skip
LIFE = {
    "actions": [
        {"verb": "start", "allowed_from": ["booked"], "becomes": "sailing"},
        {"verb": "return", "allowed_from": ["sailing"], "becomes": "returned"},
        {"verb": "cancel", "allowed_from": ["booked"], "becomes": "cancelled"},
    ],
    "editable_while": ["booked"],
}


def answer(request: ChatRequest) -> str:
    """What a willing model would answer."""
    asked = request.messages[1].content
    if request.template == "columns":
        table = re.findall(r"^Table (\w+)", asked, re.MULTILINE)[-1]
        columns = [dict(zip(("name", "kind", "values"), column, strict=False)) for column in COLUMNS[table]]
        return json.dumps({"columns": columns})
    if request.template == "values":
        return json.dumps({"values": BOATS})
    if request.template == "lifecycle":
        return json.dumps(LIFE)
    if request.template == "policy":
        return json.dumps({"introduction": "You help the skippers of a harbour with their boats and rentals."})
    if request.template == "phrases":
        return json.dumps({"patterns": _patterns(asked.splitlines()[-1].partition(". ")[2])})
    return "{}"  # texts that serve every domain are worded by rule then


def _patterns(plainly: str) -> list[str]:
    """`Change the email of …` in other words."""
    said = plainly[0].lower() + plainly[1:].rstrip(".")
    if said.startswith("ask "):
        said = said.removeprefix("ask for ").removeprefix("ask ")
        return [f"Could you tell me {said}?", f"I would really like to know {said}, thank you."]
    return [f"Please {said}.", f"I would kindly like you to {said}."]


def synthesist() -> Scripted:
    return Scripted(answer)


def record(folder: Path, domain: str, hooks: DomainHooks | None = None) -> None:
    """The recording in a domain's folder, as `envloom record` would leave it, of scripted answers."""
    llm = synthesist()
    calls: list[LlmCall] = []
    asking = llm.ask_many
    llm.ask_many = lambda requests: calls.extend(found := asking(requests)) or found  # type: ignore[method-assign]
    made = synthesise(load_brief(folder), domain, llm, hooks)
    propose_wording(made.spec, llm)
    header = {"model": "script", "engine": "script", "recorded": date.today().isoformat(), "prompts": {}}
    lines = [json.dumps(header), *(call.model_dump_json() for call in calls)]
    (folder / "calls.jsonl").write_text("\n".join(lines) + "\n")
