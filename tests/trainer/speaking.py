"""Tokenizers that speak the native dialects without a network: SmolLM2's, with chat templates of our own writing.

The templates have the marks and the structure of Qwen's and of Llama's, and none of their prose.
"""

import copy
from typing import Any

from trainer.conversation import Tokenizer

HERMES_TEMPLATE = """\
{%- for message in messages %}
{%- set first, last = loop.first, loop.last %}
{%- set before = none if loop.first else messages[loop.index0 - 1].role %}
{%- set after = none if loop.last else messages[loop.index0 + 1].role %}
{%- if message.role == "tool" %}
{%- if before != "tool" %}{{- "<|im_start|>user" }}{%- endif %}
{{- "\\n<tool_response>\\n" + message.content + "\\n</tool_response>" }}
{%- if after != "tool" %}{{- "<|im_end|>\\n" }}{%- endif %}
{%- else %}
{{- "<|im_start|>" + message.role }}
{%- if message.content %}{{- "\\n" + message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments | tojson }}{{- "}\\n</tool_call>" }}
{%- endfor %}
{%- if first and tools %}
{{- "\\n\\nFunctions:\\n<tools>" }}
{%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\nCall one as <tool_call>{"name": ..., "arguments": {...}}</tool_call>.' }}
{%- endif %}
{{- "<|im_end|>\\n" }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|im_start|>assistant\\n" }}{%- endif %}"""

LLAMA_TEMPLATE = """\
{%- macro head(role) %}{{- "<|start_header_id|>" + role + "<|end_header_id|>\\n\\n" }}{%- endmacro %}
{{- "<|begin_of_text|>" }}
{%- for message in messages %}
{%- if "tool_calls" in message %}
{%- if message.tool_calls | length != 1 %}{{- raise_exception("one call a turn") }}{%- endif %}
{%- set call = message.tool_calls[0].function %}
{{- head("assistant") }}
{{- '{"name": "' + call.name + '", "parameters": ' }}{{- call.arguments | tojson }}{{- "}" }}
{%- elif message.role in ["tool", "ipython"] %}
{{- head("ipython") }}{{- message.content | tojson }}
{%- else %}
{{- head(message.role) }}
{%- if message.role == "system" %}
{{- "Today Date: " + (date_string if date_string is defined else strftime_now("%d %b %Y")) + "\\n\\n" }}
{%- endif %}
{%- if loop.index0 == 1 and tools %}
{{- 'Call a function as {"name": ..., "parameters": {...}}.\\n\\n' }}
{%- for tool in tools %}{{- tool | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}
{%- endif %}
{{- message.content | trim }}
{%- endif %}
{{- "<|eot_id|>" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- head("assistant") }}{%- endif %}"""

TEMPLATES = {"hermes": HERMES_TEMPLATE, "llama": LLAMA_TEMPLATE}
_LLAMA_TOKENS = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"]
ASSISTANT = {
    "compact": "<|im_start|>assistant",
    "hermes": "<|im_start|>assistant",
    "llama": "<|start_header_id|>assistant",
}
"""What begins each turn of the policy."""


def speaking(tokenizer: Tokenizer, dialect: str) -> Tokenizer:
    """A copy of SmolLM2's tokenizer whose chat template is of this dialect; for `compact` its own."""
    other: Any = copy.deepcopy(tokenizer)
    if dialect in TEMPLATES:
        other.chat_template = TEMPLATES[dialect]
    if dialect == "llama":
        other.add_special_tokens({"additional_special_tokens": _LLAMA_TOKENS})
    return other
