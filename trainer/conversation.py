"""Token in, token out: a conversation as the exact ids an engine sees, in the model's own chat template.

Completions are never re-tokenised. What the environment adds between two completions (end of turn, tool results
or user's reply, generation prompt) is cut out of the template's own rendering, so any model with a chat template works.
Where a template rewrites earlier turns (Qwen3 takes the thinking out of them), the history stays as it was sampled.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from trainer.dialects.compact import COMPACT
from trainer.dialects.protocol import Dialect

# Stand for words while the template is rendered; anything that no template, tool or user writes.
_SYSTEM_MARK, _USER_MARK, _ASSISTANT_MARK, _HEARD_MARK = "⟪system⟫", "⟪user⟫", "⟪assistant⟫", "⟪heard⟫"
_DATE_MARK = "⟪date⟫"
_ANY_TOOL = {"type": "function", "function": {"name": "f", "description": "f", "parameters": {"type": "object"}}}
_END_OF_MESSAGE = "<|eom_id|>"
"""Llama's other way to end a turn, which it learnt for calls."""
Speaker: TypeAlias = Literal["tool", "user"]
"""Who is heard between two completions. Tools and experts speak as `tool`."""
_REMEMBERED = 2048
"""Bridges: some MiB."""
_END_OF_QUOTED_SENTENCE = re.compile(r'(?<=[.?!])(?=")')
"""Between a sentence and the quote that closes it, which many vocabularies have as one token (`.")`)."""


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that a conversation uses."""

    added_tokens_decoder: dict[int, Any]

    def apply_chat_template(self, conversation: list[dict[str, Any]], **options: Any) -> Any: ...
    def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool = False) -> list[int]: ...
    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str: ...


class TemplateUnusable(ValueError):
    """The model's chat template cannot carry a tool conversation."""


def load_tokenizer(model_path: Path) -> Tokenizer:
    """The tokenizer saved beside the weights. Raises TemplateUnusable when it brings no chat template."""
    # Imported here because it takes a second; and this class, not AutoTokenizer, because that one imports torch.
    from transformers.tokenization_utils_tokenizers import TokenizersBackend

    tokenizer = TokenizersBackend.from_pretrained(str(model_path), local_files_only=True)
    if not tokenizer.chat_template:
        raise TemplateUnusable(f"{model_path}: the tokenizer has no chat template; use an instruct model.")
    return tokenizer


class Conversation:
    """The tokens of conversations in one model's chat template, tools in the form of `dialect`.

    Rendering and tokenising is most of what a turn costs beside its engine, and the samples of a group often hear the
    same: bridges are remembered, whole, so that no id can differ.
    """

    def __init__(self, tokenizer: Tokenizer, dialect: Dialect = COMPACT) -> None:
        self._tokenizer = tokenizer
        self.dialect = dialect
        added = tokenizer.added_tokens_decoder
        self._special = sorted({*(token.content for token in added.values() if token.special), *dialect.markers})
        self.end_ids = tuple(self._encode(self._after_assistant([])))[:1]
        """The token that ends an assistant turn: what the policy learns to write."""
        others = [token_id for token_id, token in added.items() if token.content == _END_OF_MESSAGE]
        self.stop_token_ids = [*self.end_ids, *others]
        """What generation stops at."""
        self._remembered = lru_cache(_REMEMBERED)(self._bridge_ids)

    def opening(
        self, system: str, user: str, *, tools: Sequence[dict[str, Any]] = (), clock: str | None = None
    ) -> list[int]:
        """The whole prompt of turn 0, up to where the assistant begins to write.

        `tools` are functions with JSON schemas, shown by the template. Templates that tell the date tell that of
        `clock` (ISO 8601): prompts must not depend on the day they were made.
        """
        shown = json.loads(self._plain(json.dumps(tools, ensure_ascii=False)))
        dates = {} if clock is None else _dates(datetime.fromisoformat(clock).strftime)
        messages = self._opening_messages(system, user)
        return self._encode(self._render(messages, generation_prompt=True, tools=shown, **dates))

    def bridge(self, completion_ids: Sequence[int], heard: str | Sequence[str], speaker: Speaker = "tool") -> list[int]:
        """What follows `completion_ids` up to the next completion: end of turn unless sampled, words heard, prompt.

        Each of several `heard` is a message of its own.
        """
        role = self.dialect.results_role if speaker == "tool" else speaker
        bridge = self._remembered((heard,) if isinstance(heard, str) else tuple(heard), role)
        ended = completion_ids[-1:] and completion_ids[-1] in self.stop_token_ids
        return list(bridge[1:] if ended else bridge)

    def _bridge_ids(self, heard: tuple[str, ...], role: str) -> tuple[int, ...]:
        messages = [{"role": role, "content": self._plain(words)} for words in heard]
        return tuple(self._encode(self._after_assistant(messages)))

    def completion(self, text: str) -> list[int]:
        """A golden completion: the words and the end-of-turn token, as an engine could have sampled them.

        A quoted sentence is in the tokens of the sentence itself. A policy that hands on what it was told copies
        token by token: it writes the full stop alone, and must have learnt that the closing quote can come after that.
        A special token that the words mention is spelled, so that it does not end the turn.
        """
        pieces = _END_OF_QUOTED_SENTENCE.split(text)
        return [*(token_id for piece in pieces for token_id in self._spell(piece)), *self.end_ids]

    def text(self, completion_ids: Sequence[int]) -> str:
        """What a completion says, without special tokens."""
        return self._tokenizer.decode(list(completion_ids), skip_special_tokens=True)

    def read(self, prompt_ids: Sequence[int]) -> tuple[str, list[tuple[str, str]]]:
        """What a prompt says: the system prompt, then (`user`, `assistant` or `tool`, words) for everything after it.

        The way back from `opening` and `bridge` in the compact dialect. Raises TemplateUnusable for a prompt that was
        not made by them.
        """
        text = self._tokenizer.decode(list(prompt_ids), skip_special_tokens=False)
        messages = self._opening_messages(_SYSTEM_MARK, _USER_MARK)
        opening = self._render(messages, generation_prompt=True, **_dates(lambda _: _DATE_MARK))
        before, _, rest = opening.partition(_SYSTEM_MARK)
        between, _, prompt = rest.partition(_USER_MARK)
        begins = re.match(re.escape(before).replace(re.escape(_DATE_MARK), r"[^\n]*"), text)
        system, _, rest = text[begins.end() if begins else 0 :].partition(between)
        user, found, rest = rest.partition(prompt)
        if not begins or not found:
            raise TemplateUnusable("this prompt does not begin as the chat template begins a conversation.")
        turns = [("user", user)]
        bridges = {speaker: self._bridge_text(speaker).partition(_HEARD_MARK) for speaker in ("tool", "user")}
        while rest:
            speaker = min(bridges, key=lambda speaker: rest.find(bridges[speaker][0]) % (len(rest) + 1))
            words, began, rest = rest.partition(bridges[speaker][0])
            heard, ended, rest = rest.partition(bridges[speaker][2])
            if not began or not ended:
                raise TemplateUnusable("this prompt does not go on as the chat template does.")
            turns += [("assistant", words), (speaker, heard)]
        return system, turns

    def _bridge_text(self, speaker: str) -> str:
        return self._after_assistant([{"role": speaker, "content": _HEARD_MARK}])

    def _opening_messages(self, system: str, user: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": self._plain(system)}, {"role": "user", "content": self._plain(user)}]

    def _after_assistant(self, messages: list[dict[str, str]]) -> str:
        """The template's text after the assistant's words, when `messages` follow it."""
        history = [*self._opening_messages("s", "u"), {"role": "assistant", "content": _ASSISTANT_MARK}, *messages]
        # With a tool, since some models have another template for conversations with tools.
        tools = [_ANY_TOOL] if self.dialect.native else []
        rendered = self._render(history, generation_prompt=bool(messages), tools=tools)
        # The first one: what is heard afterwards may hold any text.
        _, mark, after = rendered.partition(_ASSISTANT_MARK)
        if not mark or not after:
            raise TemplateUnusable("the chat template drops or rewrites the assistant's words; use another template.")
        return after

    def _render(
        self,
        messages: list[dict[str, str]],
        *,
        generation_prompt: bool,
        tools: Sequence[dict[str, Any]] = (),
        **shown: Any,
    ) -> str:
        return self._tokenizer.apply_chat_template(
            messages, tools=list(tools) or None, tokenize=False, add_generation_prompt=generation_prompt, **shown
        )

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _spell(self, text: str) -> list[int]:
        """The tokens of a text in which no special token is one token."""
        return list(self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def _plain(self, text: str) -> str:
        """`text` with special tokens broken up: a tool result must not be able to end the turn or speak as the user."""
        for token in self._special:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text


def _dates(shown: Callable[[str], str]) -> dict[str, Any]:
    """What chat templates take the date from: by the names that Llama's and others' use."""
    return {"date_string": shown("%d %b %Y"), "strftime_now": shown}
