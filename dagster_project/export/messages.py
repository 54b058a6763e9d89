"""Tasks and rollouts in the form of chat APIs, for tools that know nothing of our dialects.

Whatever syntax the policy read and wrote, here tools are functions with JSON schemas, calls are `tool_calls`, and words
are words: the prompt is the one that models with tools of their own are given. What the policy really saw is in the
tokens of its turns.
"""

import json
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from envs.spec import EnvironmentSpec
from envs.task import Preference, Task, Toolbox, ToolCall
from envs.tools import ToolResult
from trainer.dialect import ParsedTurn, render_results, user_message
from trainer.dialects.hermes import HERMES
from warehouse.export.rollouts import StoredRollout, Talk
from warehouse.export.shared import call_id, message, prompt_message
from warehouse.export.tasks import specs_of
from warehouse.warehouse import Warehouse

Messages = list[dict[str, Any]]


class Teller:
    """Tells tasks and rollouts of one warehouse, whose environments it remembers."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._spec = lru_cache(256)(self._read_spec)

    def opening(self, task: Task) -> tuple[Messages, list[str]]:
        """What an assistant is told of a task first, and the tools of its own toolbox as JSON text."""
        return self._opening(task, task.toolbox, task.preference)

    def rollout(self, rollout: StoredRollout) -> Talk:
        """A rollout as chat. Raises KeyError when an environment of its toolbox is not stored."""
        task = rollout.task
        opening, tools = self._opening(task, rollout.toolbox, rollout.preference)
        experts = {expert.name for expert in rollout.toolbox.experts}
        rest: Messages = []
        made = 0
        for turn in rollout.turns:
            calls = [ToolCall.model_validate(call) for call in json.loads(turn["calls"])]
            results = [ToolResult.model_validate(result) for result in json.loads(turn["results"])]
            rest.append(message("assistant", "" if calls else _words(rollout, turn, task), calls, first_call=made))
            # A turn that could not be read called nothing: what the environment says to that answers no call.
            rest += [
                message("tool", _shown(result, call, experts), answers=(call_id(place), call.tool))
                for place, (call, result) in enumerate(zip(calls, results, strict=False), made)
            ] or [message("user", _shown(result, None, experts)) for result in results]
            made += len(calls)
            if turn["reply"] is not None:
                rest.append(message("user", turn["reply"]))
        return Talk(opening=tuple(opening), rest=tuple(rest), tools=tuple(tools))

    def _opening(self, task: Task, toolbox: Toolbox, preference: Preference) -> tuple[Messages, list[str]]:
        others = {each.environment_id: self._spec(each.environment_id) for each in toolbox.distractors}
        prompt = HERMES.prompt(self._spec(task.environment_id), toolbox, others, may_ask=task.scenario is not None)
        messages = [prompt_message("system", prompt.system), prompt_message("user", user_message(task, preference))]
        return messages, [json.dumps(tool, ensure_ascii=False) for tool in prompt.tools]

    def _read_spec(self, identity: str) -> EnvironmentSpec:
        found = specs_of(self._warehouse, [identity])
        if identity not in found:
            raise KeyError(f"environment {identity} is not in the warehouse; materialise `environment` of its domain")
        return found[identity]


def _words(rollout: StoredRollout, turn: Mapping[str, Any], task: Task) -> str:
    """What a turn without calls says: the answer or a message to the user, else all that was written."""
    if turn["message"] is not None:
        return turn["message"]
    last = turn["turn"] == rollout.row["n_turns"] - 1
    if rollout.row["answer"] is not None and last:
        return HERMES.write(ParsedTurn(answer=rollout.row["answer"]), may_ask=task.scenario is not None)
    return turn["text"]


def _shown(result: ToolResult, call: ToolCall | None, experts: set[str]) -> str:
    """A result as the policy was shown it, but whole."""
    return render_results([result], sys.maxsize, [0] if call is not None and call.tool in experts else [])
