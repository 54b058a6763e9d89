"""What users want besides success: sentences in the model's words, each paired with the reward vector it means.

The vector is ours, the words are the model's, and they are checked against each other: a sentence for low cost speaks
of money and not of time. A fifth of the pairs never meets training, so that adherence can be measured on unseen words.
"""

import random
from collections.abc import Mapping
from typing import Any

from envs.record import derive_seed
from envs.task import Preference
from generators.texts import TextAsk, Texts

NONE = 0.5
"""Share of tasks whose user has no preference."""
HELD_OUT = 5
"""One of so many pairs is kept from training."""
_CHEAP = "([Cc]heap|[Ll]ow|[Ll]ittle money|[Ll]ess money|[Ss]ave|[Bb]udget|[Mm]inimal|as little|want to save)"
_FAST = "([Ff]ast|[Qq]uick|[Hh]urry|[Ss]oon|[Uu]rgent|little time|[Rr]ush|immediately)"
_RIGHT = "([Cc]orrect|[Aa]ccura|[Cc]areful|[Mm]istake|[Pp]recise|right|errors)"
_MONEY = r"\b(cheap\w*|costs?|costly|price\w*|spend\w*|money|budget|expens\w*|afford\w*)\b"
_TIME = r"\b(fast\w*|quick\w*|hurry|soon\w*|urgent\w*|wait\w*|speed\w*|rush\w*|immediately|deadline)\b"
_ADDED = (
    r"\b(e?mail|message|send|sent|letter|airport|store|meeting|call|homework|perfect|so i can|i must|before you"
    r"|inform|tell you)\b"
)
"""What small models add of their own."""
ASKS: tuple[tuple[TextAsk, dict[str, Any]], ...] = (
    (
        TextAsk(
            "prefer_low_cost",
            ("Please keep the cost low.", "I want to save money on this."),
            pieces=(_CHEAP,),
            forbidden=rf"{_TIME}|{_ADDED}|\b(is|are) (low|cheap|minimal|acceptable)|makes",
        ),
        {"cost": 0.5},
    ),
    (
        TextAsk(
            "prefer_speed",
            ("I am in a hurry.", "Please do this as fast as you can."),
            pieces=(_FAST,),
            forbidden=rf"{_MONEY}|{_ADDED}",
        ),
        {"latency": 0.5},
    ),
    (
        TextAsk(
            "prefer_cost_and_speed",
            ("Please keep it cheap and quick.", "It should cost little money and take little time."),
            pieces=(_CHEAP, _FAST),
            forbidden=_ADDED,
        ),
        {"cost": 0.3, "latency": 0.3},
    ),
    (
        TextAsk(
            "prefer_accuracy",
            ("Please make sure that everything is right.", "Be careful, I want no mistakes in this."),
            pieces=(_RIGHT,),
            forbidden=rf"{_MONEY}|{_TIME}|{_ADDED}",
        ),
        {},
    ),
    (
        TextAsk(
            "prefer_tool",
            ("Please use {tool} for this.", "I would like you to work with {tool}."),
            placeholders=("tool",),
            pieces=(r"([Uu]se|[Uu]se of|[Uu]sing|[Ww]ork with|with the help of) (the )?\{tool\}",),
            forbidden=r"\b(not|don't|never|avoid|without|instead|best|crucial|hope|do you)\b",
        ),
        {"tools": 0.3},
    ),
)


def draw(rng: random.Random, texts: Mapping[str, Texts], tools: tuple[str, ...]) -> tuple[Preference, str | None]:
    """A preference with the call that worded it, or none. A preferred tool is one of `tools`."""
    if rng.random() < NONE:
        return Preference(), None
    ask, vector = rng.choice(ASKS)
    found = texts[ask.purpose]
    text, tool = rng.choice(found.texts), rng.choice(tools)
    weights = {"tools": {tool: vector["tools"]}} if "tools" in vector else vector
    # The split hangs on the words alone: the same sentence about another tool is not an unseen one.
    held_out = derive_seed("preference", text) % HELD_OUT == 0
    return Preference(text=text.replace("{tool}", tool), held_out=held_out, **weights), found.call_id
