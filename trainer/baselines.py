"""Policies that are rules, to be beaten: always the cheapest expert, always the dearest, and chance.

They read what a model reads, token by token, always in the compact dialect, and are rolled out, judged and charged by
the same code. What they write has no logprobs worth the name (all 0), so that they are evaluated and never trained.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from random import Random
from typing import NamedTuple, TypeAlias

from pydantic import JsonValue

from envs.experts import QUESTION
from envs.task import ToolCall
from serving.amounts import levels
from serving.endpoint import Completion, CompletionRequest
from trainer.collect import Collection
from trainer.conversation import Conversation, Tokenizer
from trainer.dialect import ASK, parse_turn, render_answer, render_call, render_message
from trainer.engine import ServedPolicy
from trainer.fanout import Hear, Sink, fan_out

_SIGNATURE = re.compile(r"^(?P<name>\w+)\((?P<parameters>.*?)\) - ", re.MULTILINE)
_PARAMETER = re.compile(r"(?:^|, )(?P<name>\w+)(?:: (?P<hint>[^,]*))?")
_EXPERT = re.compile(
    rf"^(?P<name>\w+)\({QUESTION}\) - .*\[\$(?P<input>\S+) in, \$(?P<output>\S+) out per million tokens\]$",
    re.MULTILINE,
)
_ANSWER_RATE = 0.2
"""How often chance ends the rollout."""
_OUTPUT_SHARE = 0.2
"""Of the tokens of an expert call, roughly: what `cheap` means where one of two prices is higher and one lower."""


class NoExperts(RuntimeError):
    """A policy that asks experts was rolled out with a toolbox without any."""


class Heard(NamedTuple):
    """A conversation as a policy reads it."""

    system: str
    turns: list[tuple[str, str]]
    """(speaker, words) after the system prompt; speakers are `user`, `assistant` and `tool`."""

    @property
    def request(self) -> str:
        """All that the user has said."""
        return "\n".join(words for speaker, words in self.turns if speaker == "user")


Rule: TypeAlias = Callable[[Heard, Random], str]


class RulePolicy:
    """A rule as a policy: it gets the words of the prompt and answers with words, as tokens."""

    def __init__(self, rule: Rule, tokenizer: Tokenizer) -> None:
        self._rule = rule
        self._conversation = Conversation(tokenizer)

    async def complete(self, request: CompletionRequest) -> Completion:
        """What the rule says to this prompt; chance is seeded by the request."""
        heard = Heard(*self._conversation.read(request.prompt_ids))
        ids = self._conversation.completion(self._rule(heard, Random(request.seed)))
        kept = ids[: request.max_tokens]
        return Completion(
            token_ids=tuple(kept),
            logprobs=(0.0,) * len(kept),
            finish_reason="stop" if len(kept) == len(ids) else "length",
            prompt_tokens=len(request.prompt_ids),
            seconds=0.0,
        )


def _opened(rule: Rule, tokenizer: Tokenizer) -> nullcontext[RulePolicy]:
    return nullcontext(RulePolicy(rule, tokenizer))


class RuleEngine:
    """Collects with a rule as `trainer.engine.PolicyEngine` collects with a model."""

    def __init__(self, rule: Rule, tokenizer: Tokenizer) -> None:
        """The tokenizer decides in which chat template the rule reads and writes, and so what its tokens cost."""
        self._rule = rule
        self._tokenizer = tokenizer

    def collect(self, collection: Collection, policy: ServedPolicy, sink: Sink, hear: Hear = lambda _: None) -> None:
        """Roll the rule out on every task into the sink. Raises NoExperts, RayMissing and WorkersLost."""
        collection = replace(collection, dialect="compact").served_as(policy.policy_id)
        fan_out(collection, [partial(_opened, self._rule, self._tokenizer)], self._tokenizer, sink, hear)


def _delegate(heard: Heard, dearest: bool) -> str:
    """Ask one expert what to do and do it, until it knows the answer. What it needs to know, the user is asked."""
    expert = _expert(heard.system, dearest)
    speaker, words = heard.turns[-1]
    asked = len(heard.turns) > 1 and heard.turns[-2][1].startswith(f"{expert}(")
    if speaker == "user" or not asked or words.startswith('{"error":'):
        return render_call(ToolCall(tool=expert, arguments={QUESTION: heard.request}))
    advice = parse_turn(words)
    if advice.calls:
        return words
    if advice.answer is None and ASK in heard.system:
        return render_message(words)
    return render_answer(advice.answer or words)


def _expert(system: str, dearest: bool) -> str:
    prices = {
        found["name"]: float(found["input"]) * (1 - _OUTPUT_SHARE) + float(found["output"]) * _OUTPUT_SHARE
        for found in _EXPERT.finditer(system)
    }
    if not prices:
        raise NoExperts("the toolbox has no expert to ask; set rollouts.toolbox.experts, or leave this baseline out.")
    level = levels(prices.values())
    return (max if dearest else min)(sorted(prices), key=lambda name: level[prices[name]])


def _chance(heard: Heard, rng: Random) -> str:
    """Any tool with arguments out of the request, or the end."""
    tools = [(found["name"], found["parameters"]) for found in _SIGNATURE.finditer(heard.system)]
    if not tools or rng.random() < _ANSWER_RATE:
        return render_answer("Done.")
    name, parameters = rng.choice(tools)
    arguments = {found["name"]: _any_value(found, heard, rng) for found in _PARAMETER.finditer(parameters)}
    return render_call(ToolCall(tool=name, arguments=arguments))


def _any_value(parameter: re.Match[str], heard: Heard, rng: Random) -> JsonValue:
    hint = parameter["hint"] or ""
    if parameter["name"] == QUESTION:
        return heard.request
    if hint in ("integer", "number"):
        return rng.randint(1, 9)
    if hint == "True/False":
        return rng.random() < 0.5
    return rng.choice(hint.split("|") if "|" in hint else heard.request.split())


RULES: Mapping[str, Rule] = {
    "cheapest_expert": lambda heard, _: _delegate(heard, dearest=False),
    "dearest_expert": lambda heard, _: _delegate(heard, dearest=True),
    "random": _chance,
}
"""By the name that evaluations give them."""


def rule_policy(name: str) -> ServedPolicy:
    """The name under which a rule's rollouts are stored."""
    return ServedPolicy(policy_id=f"rule:{name}")
