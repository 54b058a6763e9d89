"""Golden trajectories and solved rollouts as examples for supervised training, in the very words of the warm start.

The words are overheard while the trainer renders them, so that they cannot drift from what is trained on; those of
rollouts are read out of the stored tokens, and count only if they give the same tokens again.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envs.environment import Environment
from envs.spec import EnvironmentSpec
from envs.task import Task
from trainer.conversation import Conversation, Speaker
from trainer.dialect import user_message
from trainer.golden import Equipment, golden_row
from trainer.rollout import Rollout, Turn
from trainer.rows import TrainingRow

IGNORED = -100
"""The label of tokens that nobody is to learn, as loss functions of torch have it."""


class Overheard(Conversation):
    """A conversation that keeps what was said in it, as messages for the chat template that it renders with."""

    def opening(self, system: str, user: str, **shown: Any) -> list[int]:
        self.messages = [{"role": "system", "content": self._plain(system)}]
        self.messages += [{"role": "user", "content": self._plain(user)}]
        # In the order of their keys, which is that of the prompt.
        self.tools = [self._plain(json.dumps(tool, ensure_ascii=False)) for tool in shown.get("tools", ())]
        return super().opening(system, user, **shown)

    def completion(self, text: str) -> list[int]:
        self.messages.append({"role": "assistant", "content": text})
        return super().completion(text)

    def bridge(self, completion_ids: Sequence[int], heard: str | Sequence[str], speaker: Speaker = "tool") -> list[int]:
        role = self.dialect.results_role if speaker == "tool" else speaker
        said = (heard,) if isinstance(heard, str) else heard
        self.messages += [{"role": role, "content": self._plain(words)} for words in said]
        return super().bridge(completion_ids, heard, speaker)

    def heard(self, context_ids: Sequence[int], after: Sequence[int], n: int, speaker: Speaker) -> list[str] | None:
        """The `n` messages that `context_ids` tell after the completion `after`: the way back from `bridge`.

        None where the template does not begin and end them as these tokens do.
        """
        role = self.dialect.results_role if speaker == "tool" else speaker
        marks = [f"⟪{place}⟫" for place in range(n)]
        template = self._after_assistant([{"role": role, "content": mark} for mark in marks])
        if after[-1:] and after[-1] in self.stop_token_ids:
            template = template.removeprefix(self.verbatim(self.end_ids))
        pattern = re.escape(template)
        for mark in marks:
            pattern = pattern.replace(re.escape(mark), "(.*?)", 1)
        found = re.fullmatch(pattern, self.verbatim(context_ids), re.DOTALL)
        words = None if found is None else [*found.groups()]
        return words if words is not None and self.bridge(after, words, speaker) == [*context_ids] else None

    def verbatim(self, token_ids: Sequence[int]) -> str:
        """What the tokens say, special ones included."""
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=False)


@dataclass(frozen=True)
class Example:
    """One trajectory: where it is from, its words, its tokens and which of them the assistant wrote."""

    origin: dict[str, Any]
    messages: list[dict[str, str]]
    tools: list[str]
    token_ids: tuple[int, ...]
    trained: tuple[bool, ...]

    def message_row(self) -> dict[str, Any]:
        """The row of `rollout_columns.EXAMPLES`."""
        turns = sum(message["role"] == "assistant" for message in self.messages)
        return {**self.origin, "messages": self.messages, "tools": self.tools, "n_turns": turns}

    def token_row(self) -> dict[str, Any]:
        """The row of `rollout_columns.TOKENS`."""
        labels = [token if trained else IGNORED for token, trained in zip(self.token_ids, self.trained, strict=True)]
        return {**self.origin, "input_ids": list(self.token_ids), "labels": labels}

    def completion_rows(self, conversation: Overheard) -> Iterator[dict[str, Any]]:
        """The rows of `rollout_columns.COMPLETIONS`: one per run of tokens that the assistant wrote."""
        turn, begins = 0, None
        for place, trained in enumerate((*self.trained, False)):
            if trained and begins is None:
                begins = place
            elif not trained and begins is not None:
                prompt, completion = self.token_ids[:begins], self.token_ids[begins:place]
                yield {
                    **self.origin,
                    "turn": turn,
                    "prompt": conversation.verbatim(prompt),
                    "completion": conversation.verbatim(completion),
                }
                turn, begins = turn + 1, None


def golden_examples(
    task: Task, environment: Environment, conversation: Overheard, limit_chars: int, equipment: Equipment
) -> Iterator[tuple[Example, TrainingRow]]:
    """The golden trajectories of a task, and the rows that the warm start makes of them. Raises golden.GoldenFailed."""
    for part, equipped in enumerate(equipment.of(task, environment)):
        row = golden_row(task, environment, conversation, limit_chars, equipped, part)
        origin = {"id": row.name if part else task.id, "source": "golden", **_where(task), "policy_id": None}
        yield Example(origin, conversation.messages, conversation.tools, row.token_ids, row.trained), row


def solved_example(
    rollout: Rollout, task: Task, specs: Mapping[str, EnvironmentSpec], conversation: Overheard
) -> Example | None:
    """A solved rollout as it was; None where today's code would put its words into other tokens."""
    may_ask, spec = task.scenario is not None, specs[task.environment_id]
    prompt = conversation.dialect.prompt(spec, rollout.toolbox, specs, may_ask=may_ask)
    request = user_message(task, rollout.preference)
    opening = conversation.opening(prompt.system, request, tools=prompt.tools, clock=spec.clock)
    if tuple(opening) != rollout.turns[0].context_ids:
        return None
    tokens: list[int] = []
    trained: list[bool] = []
    for last, turn in zip((None, *rollout.turns), rollout.turns, strict=False):
        if last is not None and not (turn.extends and _heard(last, turn, conversation)):
            return None
        conversation.messages.append({"role": "assistant", "content": turn.text})
        tokens += [*turn.context_ids, *turn.completion_ids]
        trained += [False] * len(turn.context_ids) + [True] * len(turn.completion_ids)
    origin = {"id": rollout.id, "source": "rollout", **_where(task), "policy_id": rollout.policy_id}
    return Example(origin, conversation.messages, conversation.tools, tuple(tokens), tuple(trained))


def _heard(last: Turn, turn: Turn, conversation: Overheard) -> bool:
    """Whether what was heard between two turns can be told; it is then among the conversation's messages."""
    speaker: Speaker = "tool" if last.reply is None else "user"
    n = len(conversation.dialect.results(last.results, sys.maxsize)) if last.reply is None else 1
    return conversation.heard(turn.context_ids, last.completion_ids, n, speaker) is not None


def _where(task: Task) -> dict[str, str]:
    return {"task_id": task.id, "environment_id": task.environment_id, "domain": task.domain}
