"""Which dialect a policy speaks: the one a campaign names, or the one its tokenizer's chat template writes calls in."""

from jinja2 import TemplateError

from envs.task import ToolCall
from trainer.conversation import TemplateUnusable, Tokenizer
from trainer.dialect import ParsedTurn
from trainer.dialects.compact import COMPACT
from trainer.dialects.hermes import HERMES
from trainer.dialects.llama import LLAMA
from trainer.dialects.native import NativeDialect
from trainer.dialects.protocol import Dialect, DialectName

_NATIVE: dict[str, NativeDialect] = {"hermes": HERMES, "llama": LLAMA}
_CALL = ToolCall(tool="look_up", arguments={"key": "K-1"})


def dialect_for(name: DialectName, tokenizer: Tokenizer) -> Dialect:
    """The dialect of that name; for `auto` the tokenizer's own, or the compact one where it has none.

    Raises TemplateUnusable for a dialect that the chat template does not have: the policy would be shown no tools.
    """
    if name == "compact":
        return COMPACT
    if name == "auto":
        return next((dialect for dialect in _NATIVE.values() if speaks(tokenizer, dialect)), COMPACT)
    if not speaks(tokenizer, _NATIVE[name]):
        raise TemplateUnusable(
            f"rollouts.dialect: the tokenizer's chat template shows no tools or calls in the form of {name}; "
            "use auto or compact."
        )
    return _NATIVE[name]


def speaks(tokenizer: Tokenizer, dialect: NativeDialect) -> bool:
    """Whether the chat template shows tools and writes a call as the dialect does.

    The template is asked by rendering: its marks alone, such as `<tool_call>`, stand for several forms of calls.
    """
    function = {"name": _CALL.tool, "arguments": _CALL.arguments}
    tool = {"name": _CALL.tool, "description": "⟪shown⟫", "parameters": {"type": "object", "properties": {}}}
    try:
        rendered = tokenizer.apply_chat_template(
            [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u"},
                {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]},
            ],
            tools=[{"type": "function", "function": tool}],
            tokenize=False,
        )
    except (TemplateError, TypeError):
        return False  # a template that knows no calls may stumble over one
    return "⟪shown⟫" in rendered and dialect.write(ParsedTurn(calls=(_CALL,))) in rendered
