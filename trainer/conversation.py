"""Token in, token out: a conversation as the exact ids an engine sees, in the model's own chat template.

Completions are never re-tokenised. What the environment adds between two completions (end of turn, tool result,
generation prompt) is cut out of the template's own rendering, so any model with a chat template works.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from trainer.dialect import RESULT_ROLE

# Stand for the assistant's words while the template is rendered; anything that no template, tool or user writes.
_ASSISTANT_MARK = "⟪assistant⟫"


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that a conversation uses."""

    added_tokens_decoder: dict[int, Any]

    def apply_chat_template(self, conversation: list[dict[str, str]], **options: Any) -> Any: ...
    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...
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
    """The tokens of conversations in one model's chat template."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.values()
        self._special = sorted(token.content for token in added if token.special)
        self.end_ids = tuple(self._encode(self._after_assistant([])))[:1]
        """The token that ends an assistant turn: what generation stops at and what the policy learns to write."""

    @property
    def stop_token_ids(self) -> list[int]:
        return list(self.end_ids)

    def opening(self, system: str, user: str) -> list[int]:
        """The whole prompt of turn 0, up to where the assistant begins to write."""
        return self._encode(self._render(self._opening_messages(system, user), generation_prompt=True))

    def bridge(self, completion_ids: Sequence[int], result: str) -> list[int]:
        """What follows `completion_ids` up to the next completion: end of turn unless sampled, result, prompt."""
        message = {"role": RESULT_ROLE, "content": self._plain(result)}
        bridge = self._encode(self._after_assistant([message]))
        return bridge[1:] if tuple(completion_ids[-1:]) == self.end_ids else bridge

    def completion(self, text: str) -> list[int]:
        """A golden completion: the words and the end-of-turn token, as an engine would have sampled them."""
        return [*self._encode(text), *self.end_ids]

    def text(self, completion_ids: Sequence[int]) -> str:
        """What a completion says, without special tokens."""
        return self._tokenizer.decode(list(completion_ids), skip_special_tokens=True)

    def _opening_messages(self, system: str, user: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": self._plain(system)}, {"role": "user", "content": self._plain(user)}]

    def _after_assistant(self, messages: list[dict[str, str]]) -> str:
        """The template's text after the assistant's words, when `messages` follow it."""
        history = [*self._opening_messages("s", "u"), {"role": "assistant", "content": _ASSISTANT_MARK}, *messages]
        rendered = self._render(history, generation_prompt=bool(messages))
        _, mark, after = rendered.rpartition(_ASSISTANT_MARK)
        if not mark or not after:
            raise TemplateUnusable("the chat template drops or rewrites the assistant's words; use another template.")
        return after

    def _render(self, messages: list[dict[str, str]], *, generation_prompt: bool) -> str:
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation_prompt)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _plain(self, text: str) -> str:
        """`text` with special tokens broken up: a tool result must not be able to end the turn or speak as the user."""
        for token in self._special:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text
