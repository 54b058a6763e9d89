"""Stage `policy`: an introduction in the model's words above rules that are rendered from the guards of the tools.

The rules cannot contradict the tools, because both come from the same guards; the model's prose may not add any.
"""

import re

from pydantic import BaseModel, Field

from envs.spec import Tool
from envs.task import Rejection
from generators.brief import Brief
from generators.clauses import ONLY_IF, ONLY_WHILE
from generators.names import words
from generators.plain import orders_its_reader
from generators.stage import Llm, Refused, Stage, run_stage

# Words with which prose would make a rule of its own.
RULING = r"\b(must|never|always|only|cannot|can't|not allowed|forbidden|require[sd]?|refuse|unless)\b"

WHEN_REFUSED = "- If the status does not allow a request: change nothing, and tell the user the status."


class Introduction(BaseModel):
    """Answer of stage `policy`."""

    introduction: str = Field(pattern=r"^You help [A-Za-z ,'-]+\.$")


def propose_policy(
    brief: Brief, tools: tuple[Tool, ...], domain: str, llm: Llm
) -> tuple[str, list[Rejection], list[str]]:
    """The policy in markdown, what was refused, and the ids of the calls used."""
    stage: Stage[str, str] = Stage(
        name="policy",
        key=str,
        prompt=lambda _: {"brief": brief},
        response=lambda _: Introduction,
        accept=lambda _, answer: _accept(brief, answer),
        max_tokens=120,
    )
    result = run_stage(stage, [domain], llm, domain, brief.answers_seed)
    rules = [f"- {rule}" for rule in rules_of(tools)]
    if any(ONLY_WHILE in guard.message for tool in tools for guard in tool.guards):
        rules.append(WHEN_REFUSED)
    policy = "\n".join([result.accepted[domain], "", *rules])
    return policy, result.rejections, list(result.made_from.values())


def rules_of(tools: tuple[Tool, ...]) -> list[str]:
    """One line per tool that is not always allowed: `cancel_order: only while pending or paid.`"""
    return [
        f"{tool.name}: {word} {_in_words(guard.message.split(before)[1])}."
        for tool in tools
        for guard in tool.guards
        for before, word in ((ONLY_WHILE, "only while"), (ONLY_IF, "only if"))
        if before in guard.message
    ]


def _in_words(condition: str) -> str:
    """The condition of any call: with the names of arguments in place of their placeholders."""
    return re.sub(r"\{(\w+)\}", lambda argument: f"the {words(argument[1])}", condition)


def _accept(brief: Brief, answer: Introduction) -> str:
    text = re.sub(r"\s+", " ", answer.introduction).strip()
    if "gym" in text.lower() and "gym" not in brief.description.lower():
        raise Refused(
            "copies_the_example", "do not repeat the example; say whom you help and with what, in this service."
        )
    if not 30 <= len(text) <= 240:
        raise Refused("length", "write one sentence of 8 to 30 words.")
    if orders_its_reader(text):
        raise Refused("orders_its_reader", "it speaks to whoever reads it; say whom the service helps and with what.")
    if match := re.search(RULING, text, re.IGNORECASE):
        raise Refused("adds_a_rule", f"'{match.group()}' states a rule: only introduce the service and its tone.")
    return text
