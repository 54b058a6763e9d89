"""Stage `policy`: an introduction in the model's words above rules that are rendered from the guards of the tools.

The rules cannot contradict the tools, because both come from the same guards; the model's prose may not add any.
"""

import re

from pydantic import BaseModel, Field

from envs.spec import Tool
from envs.task import Rejection
from generators.brief import Brief
from generators.stage import Llm, Refused, Stage, run_stage
from generators.tools import ONLY_WHILE

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
    result = run_stage(stage, [domain], llm, domain, brief.seed)
    rules = "\n".join([*(f"- {rule}" for rule in rules_of(tools)), *([WHEN_REFUSED] if rules_of(tools) else [])])
    return f"{result.accepted[domain]}\n\n{rules}", result.rejections, list(result.made_from.values())


def rules_of(tools: tuple[Tool, ...]) -> list[str]:
    """One line per tool that is only allowed in some states: `cancel_order: only while pending or paid.`"""
    return [
        f"{tool.name}: only while {guard.message.split(ONLY_WHILE)[1]}."
        for tool in tools
        for guard in tool.guards
        if ONLY_WHILE in guard.message
    ]


def _accept(brief: Brief, answer: Introduction) -> str:
    text = re.sub(r"\s+", " ", answer.introduction).strip()
    if "gym" in text.lower() and "gym" not in brief.description.lower():
        raise Refused(
            "copies_the_example", "do not repeat the example; say whom you help and with what, in this service."
        )
    if not 30 <= len(text) <= 240:
        raise Refused("length", "write one sentence of 8 to 30 words.")
    if match := re.search(RULING, text, re.IGNORECASE):
        raise Refused("adds_a_rule", f"'{match.group()}' states a rule: only introduce the service and its tone.")
    return text
