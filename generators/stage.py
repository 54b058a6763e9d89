"""One LLM stage: ask in a batch, parse, check, feed the error back a bounded number of times, keep what was refused.

Every stage goes through `run_stage`; what a stage asks and what it accepts is in the stage's own module.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

from envs.record import derive_seed
from envs.task import Rejection
from generators.prompts import render, template_sha256
from generators.reading import MAX_ANSWER, Unreadable, read_object
from serving.ledger import ChatRequest, LlmCall, Message
from serving.thinking import without_thinking

Item = TypeVar("Item")
Accepted = TypeVar("Accepted")

MAX_DETAIL = 1_000
"""Characters of a refusal: it goes back into the model's context."""
_REMEDIES = {
    "thinking": "The model only thinks: give it more tokens (the synthesist's `requests.extra_tokens`), or switch its "
    "thinking off (`requests.extra_body`; docs/serving.md).",
    "cut": "Answers are cut at their bound of tokens (`max_tokens`): raise it with the synthesist's "
    "`requests.extra_tokens`, or use a model that answers briefly.",
    "refusal": "The model refuses: reword the brief, or use another synthesist.",
    "filter": "The endpoint's content filter cuts answers: reword the brief, or use another synthesist.",
    "content": "Use a stronger synthesist, or say more in the brief.",
}
"""By why most answers of a stage could not be used."""


class SynthesistNotSet(RuntimeError):
    """No way to answer a synthesis call: which setting is missing or wrong."""


class Llm(Protocol):
    """What a stage needs of the synthesist: answers to many requests, in order. `serving.ledger.Ledger` is one."""

    def ask_many(self, requests: Sequence[ChatRequest]) -> list[LlmCall]: ...


def one_of(values: Sequence[str]) -> Any:
    """The type of these strings, for a response model: what is not among them cannot be answered."""
    return Literal[tuple(values)]


class Refused(ValueError):
    """An answer that parses but cannot be used. The message is fed back to the model; `reason` is for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail if len(detail) <= MAX_DETAIL else f"{detail[:MAX_DETAIL]} …")
        self.reason = reason


@dataclass(frozen=True)
class Correction:
    """Something in an answer that was put right or left out by rule; `reason` is for counting."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Corrected(Generic[Accepted]):
    """What is accepted of an answer, and what was not: nothing is asked again, and each correction is a rejection."""

    value: Accepted
    corrections: tuple[Correction, ...]


class StageFailed(RuntimeError):
    """Every item of a stage was refused: there is nothing to go on with. `rejections` are its last answers."""

    def __init__(self, message: str, stage: str, rejections: Sequence[Rejection]) -> None:
        super().__init__(message)
        self.stage = stage
        self.rejections = tuple(rejections)


@dataclass(frozen=True)
class Stage(Generic[Item, Accepted]):
    """What one stage asks (`prompt` values and response `schema` per item) and how an answer is accepted."""

    name: str
    key: Callable[[Item], str]
    prompt: Callable[[Item], dict[str, Any]]
    response: Callable[[Item], type[BaseModel]]
    accept: Callable[[Item, Any], Accepted | Corrected[Accepted]]
    """Normalises and checks the parsed response; raises Refused."""
    max_tokens: int = 500
    temperature: float = 0.6
    repairs: int = 2
    list_answer: bool = False
    """Whether an answer is a list whose finished items are of use when the last one never ended."""
    needed: bool = True
    """Whether there is nothing to go on with when every item is refused; else the caller has words of its own."""


@dataclass
class StageResult(Generic[Accepted]):
    """Accepted answers by item key, the calls that made them, and everything refused."""

    accepted: dict[str, Accepted] = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)
    """Item key → id of the LLM call whose answer was accepted."""
    rejections: list[Rejection] = field(default_factory=list)
    calls: list[LlmCall] = field(default_factory=list)


def run_stage(
    stage: Stage[Item, Accepted], items: Sequence[Item], llm: Llm, domain: str, seed: int
) -> StageResult[Accepted]:
    """Ask for every item; repair what is refused; return what is accepted and what is not, losing nothing.

    Raises StageFailed if the stage is needed, there were items and none was accepted.
    """
    result: StageResult[Accepted] = StageResult()
    conversations = {stage.key(item): render(stage.name, **stage.prompt(item)) for item in items}
    pending = list(items)
    causes: Counter[str] = Counter()
    for attempt in range(stage.repairs + 1):
        if not pending:
            break
        requests = [
            _request(
                stage,
                item,
                conversations[stage.key(item)],
                derive_seed(domain, stage.name, stage.key(item), seed, attempt),
            )
            for item in pending
        ]
        calls = llm.ask_many(requests)
        result.calls.extend(calls)
        refused = []
        for item, call in zip(pending, calls, strict=True):
            key = stage.key(item)
            reject = partial(_rejection, stage.name, domain, key, attempt, call)
            try:
                accepted = stage.accept(item, _parse(stage, stage.response(item), call))
            except Refused as refusal:
                refused.append(item)
                causes[_cause(refusal.reason, call.finish_reason)] += 1
                conversations[key] = _with_refusal(conversations[key], call.text, str(refusal))
                result.rejections.append(reject(refusal.reason, str(refusal)))
                continue
            if isinstance(accepted, Corrected):
                result.rejections += [reject(wrong.reason, wrong.detail, kept=True) for wrong in accepted.corrections]
                accepted = accepted.value
            result.accepted[key] = accepted
            result.made_from[key] = call.id
        pending = refused
    if stage.needed and items and not result.accepted:
        reasons = "; ".join(f"{r.reason}: {r.detail}" for r in result.rejections[-3:])
        raise StageFailed(
            f"domain {domain}: stage {stage.name}: none of {len(items)} answers could be used after "
            f"{stage.repairs} repairs ({reasons}). {_REMEDIES[causes.most_common(1)[0][0]]}",
            stage.name,
            result.rejections,
        )
    return result


def _rejection(
    stage: str, domain: str, key: str, attempt: int, call: LlmCall, reason: str, detail: str, *, kept: bool = False
) -> Rejection:
    """`kept`: of the answer something is used, and only this was not."""
    return Rejection(
        domain=domain,
        stage=stage,
        reason=reason,
        detail=detail,
        subject={"item": key, "attempt": attempt, "answer": call.text[:MAX_ANSWER], "kept": kept},
        made_from=(call.id,),
    )


def _request(stage: Stage[Any, Any], item: Any, messages: tuple[Message, ...], seed: int) -> ChatRequest:
    return ChatRequest(
        template=stage.name,
        template_sha256=template_sha256(stage.name),
        messages=messages,
        response_schema=stage.response(item).model_json_schema(),
        temperature=stage.temperature,
        top_p=0.95,
        max_tokens=stage.max_tokens,
        seed=seed,
    )


def _parse(stage: Stage[Any, Any], response: type[BaseModel], call: LlmCall) -> BaseModel:
    if call.finish_reason == "refusal":
        raise Refused("refusal", f"the model refused: {call.text}")
    try:
        return read_object(response, call.text, cut=call.finish_reason == "length", partial=stage.list_answer)
    except Unreadable as error:
        raise Refused(error.reason, str(error)) from error


def _cause(reason: str, finish_reason: str) -> str:
    """Why an answer could not be used, as far as remedies differ."""
    if reason in ("refusal", "thinking_only"):
        return reason.removesuffix("_only")
    if reason not in ("schema", "too_long"):
        return "content"
    return {"length": "cut", "content_filter": "filter"}.get(finish_reason, "content")


def _with_refusal(messages: tuple[Message, ...], answer: str, error: str) -> tuple[Message, ...]:
    """The conversation so far with only the last refusal, so that repairs do not outgrow a small context."""
    words = without_thinking(answer)
    if words != answer and not answer.lstrip().startswith("{"):
        answer = words.strip() or "(no answer)"  # some endpoints refuse an empty message
    return (
        *messages[:2],
        Message(role="assistant", content=answer[:1500]),
        Message(role="user", content=f"That cannot be used: {error} Answer again, complete and corrected."),
    )
