"""Users who do not say everything at once: the request leaves out an id that the user tells when asked for it.

Who the user is comes from the model (a persona per call), what is left out is decided here, by the words of the
request: `cancel my order O-17` becomes `cancel my order`, and the order id is known to the user.
What the user wants to be told is unknown to the user.
"""

import random
import re
from collections.abc import Sequence

from envs.spec import Parameter
from envs.task import Scenario
from generators.arguments import source
from generators.names import noun
from generators.steps import Step
from generators.texts import TextAsk

PERSONAS = TextAsk(
    "persona",
    ("an impatient customer who answers in few words", "a friendly customer who tells more than is asked"),
    pieces=(r"\b(customer|person|client|user|man|woman|member|caller|parent|pensioner|student)\b",),
    forbidden=r"\b(trainer|gym|response|reply|answer to)\b",
    begins="an? ",
)

SEARCHING = ("count", "total")
"""Kinds of steps whose arguments are values to search by."""


def withhold(
    rng: random.Random, instruction: str, steps: Sequence[Step], personas: Sequence[str]
) -> tuple[str, Scenario] | None:
    """The request without one id, and who knows it; None if no id can be left out so that the request still reads."""
    places = []
    for step in steps:
        for parameter in step.tool.parameters:
            thing, value = re.escape(noun(parameter)), step.slots.get(parameter.name, "")
            if not _names_a_row(parameter, step):
                continue
            # Said once, after its noun, and the only thing of its kind: asked for "the order", the user knows which.
            said = re.findall(rf"\b(?:(?:my|the) )?{thing} {re.escape(value)}(?![\w-])", instruction)
            alone = len(re.findall(rf"\b{thing}", instruction)) == 1 and instruction.count(value) == 1
            if value and len(said) == 1 and alone:
                places.append((said[0], parameter.description, value))
    if not places:
        return None
    phrase, what, value = rng.choice(places)
    bare = phrase.removesuffix(f" {value}")
    shortened = instruction.replace(phrase, bare if bare.startswith(("my ", "the ")) else f"the {bare}")
    asked = dict.fromkeys(step.asked for step in steps if step.facts)
    return shortened, Scenario(persona=rng.choice(list(personas)), known={what: value}, unknown=tuple(asked))


def _names_a_row(parameter: Parameter, step: Step) -> bool:
    """Whether an argument is the id of a row that the step is about, rather than a value that rows are searched by."""
    return step.kind not in SEARCHING and parameter.source is not None and source(parameter)[1] == "id"
