"""Stage `policy`: an introduction in the model's words above rules that are rendered from the operations of the tools.

The rules cannot contradict the tools, because guards and rules come from one operation; the model's prose may not add
any.
"""

import re
from collections.abc import Mapping

from pydantic import BaseModel, Field

from envs.task import Rejection
from generators.brief import Brief
from generators.names import either, label, words
from generators.operations import Operation
from generators.plain import orders_its_reader
from generators.stage import Llm, Refused, Stage, run_stage

# Words with which prose would make a rule of its own.
RULING = r"\b(must|never|always|only|cannot|can't|not allowed|forbidden|require[sd]?|refuse|unless)\b"

WHEN_REFUSED = "- If the status does not allow a request: change nothing, and tell the user the status."


class Introduction(BaseModel):
    """Answer of stage `policy`."""

    introduction: str = Field(pattern=r"^You help [A-Za-z ,'-]+\.$")


def propose_policy(
    brief: Brief, operations: Mapping[str, Operation], domain: str, llm: Llm
) -> tuple[str, list[Rejection], list[str]]:
    """The policy in markdown, the rejections, and the ids of the calls used.

    operations: what each tool does, by the tool's name.
    """
    stage: Stage[str, str] = Stage(
        name="policy",
        key=str,
        prompt=lambda _: {"brief": brief},
        response=lambda _: Introduction,
        accept=lambda _, answer: _accept(brief, answer),
        max_tokens=120,
    )
    result = run_stage(stage, [domain], llm, domain, brief.answers_seed)
    rules = [f"- {rule}" for rule in rules_of(operations)]
    if any(operation.states for operation in operations.values()):
        rules.append(WHEN_REFUSED)
    policy = "\n".join([result.accepted[domain], "", *rules])
    return policy, result.rejections, list(result.made_from.values())


def rules_of(operations: Mapping[str, Operation]) -> list[str]:
    """One line per tool that is not always allowed: `cancel_order: only while pending or paid.`"""
    rules = []
    for tool, operation in operations.items():
        if operation.states:
            rules.append(f"{tool}: only while {either(operation.states)}.")
        for needed in operation.stock:
            amount = f"the {label(needed.column)} of the {words(needed.table)}"
            rules.append(f"{tool}: only if {amount} is at least the {words(needed.parameter)}.")
    return rules


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
