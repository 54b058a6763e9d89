"""The thinking that reasoning models write into their answers, where the endpoint does not take it out."""

import re
from typing import Literal, NamedTuple

_NAMES = "think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad|seed:think|mm:think|longcat_think"
_MARK = re.compile(
    rf"""[<\[◁]\s?(?P<close>/)?\s?(?:{_NAMES})(?:\s+[\w-]+="[^"<>]*")*\s?[>\]▷]"""
    # Special tokens, of Cohere, of OpenThinker and its like, of Gemma and MedGemma.
    r"|(?P<open_token><\|(?:START_THINKING|begin_of_thought|begin_of_thinking)\|>|<\|channel>\s*thought\b|<unused94>)"
    r"|(?P<close_token><\|(?:END_THINKING|end_of_thought|end_of_thinking)\|>|<channel\|>|<unused95>)"
    # The channels of gpt-oss, whose answer is in the channel `final`.
    r"|(?P<open_channel><\|channel\|>(?:analysis|commentary)\b(?:[^<]|<\|constrain\|>)*<\|message\|>)"
    # The same where special tokens are not shown: `analysis…assistantfinal…`.
    r"|(?P<final_channel><\|channel\|>final\b(?:[^<]|<\|constrain\|>)*<\|message\|>|(?-i:assistantfinal))"
    r"|(?P<end><\|(?:end|return|start|call|im_end|eot_id|endoftext|end_of_text)\|>(?:assistant)?"
    r"|<\|(?:(?:START|END)_RESPONSE|(?:begin|end)_of_solution|END_OF_TURN_TOKEN)\|>)",
    re.IGNORECASE,
)


class Mark(NamedTuple):
    """Where thinking begins or ends."""

    kind: Literal["opens", "closes", "end"]
    """`end` is a mark of the chat format: no thinking and no answer."""
    start: int
    stop: int


def next_mark(text: str, position: int) -> Mark | None:
    """The first mark of `text` from `position` on."""
    match = _MARK.search(text, position)
    if match is None:
        return None
    if match["end"]:
        return Mark("end", *match.span())
    closes = match["close"] or match["close_token"] or match["final_channel"]
    return Mark("closes" if closes else "opens", *match.span())


def without_thinking(text: str) -> str:
    """`text` without its thinking: blocks, what stands before a lone closing mark, what follows an unclosed one."""
    answer, position = "", 0
    thinking = False
    while (mark := next_mark(text, position)) is not None:
        if mark.kind == "closes":
            answer = answer if thinking else ""
            thinking = False
        else:
            answer += "" if thinking else text[position : mark.start]
            thinking = thinking or mark.kind == "opens"
        position = mark.stop
    return answer if thinking else answer + text[position:]
