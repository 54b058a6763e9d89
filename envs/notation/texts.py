"""Where the words of a value stand in a text, as whole words and with the value's own marks.

Spaces, underscores and hyphens between words are the same. Marks are part of a value: `C` is not told by `C++`, `C#` or
`.C`, `A` not by `A+` or `A-`, and `A-` not by `A`.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from envs.notation.folding import fold
from envs.notation.scripts import closes_before, opens_after

_VALUES = 4096
_BETWEEN_WORDS = re.compile(r"[\s_-]+")
_OPENS = re.compile(r"(?<![\w@°])(?<!° )(?<!\w[-.])(?<![\s(\"']\.)(?<!^\.)(?<!\bo')")
_CLOSES = re.compile(r"(?![\w@#%]|[-.]\w|\+(?!\w)|\+\+|\(\d|\s%|[²³¹])")
"""What may stand before and after a value in words: `O-4` is not in `O-41`, `XO-4`, `O-4.1` or `me@O-4`."""
_OPENS_MARK = re.compile(r"(?<!\w)")
_OPENS_DIGIT = re.compile(r"(?<!\d[,:/'])")
_CLOSES_DIGIT = re.compile(r"(?![,:/']\d|[万萬億亿千百十兆만억천백십])")
_CLOSES_SHORT = re.compile(r"(?!-(?:\W|$)|'(?!s\b)\w)")
_OPENS_ADDRESS = re.compile(r"(?<!\w[+'])")
_SHORT = 3
"""Letters of a last word up to which a hyphen after it is its own: a grade `A-`."""


def places(text: str, value: str) -> Iterator[tuple[int, int]]:
    """Start and end of each statement of a value in a folded text.

    Not by a pattern of the value: there are as many values as facts, and compiling one takes longer than a proof has.
    """
    first, *others = _parts(value)
    start = text.find(first) if first else -1
    while start >= 0:
        end = start + len(first)
        for word in others:
            gap = _BETWEEN_WORDS.match(text, end)
            if gap is None or not text.startswith(word, gap.end()):
                break
            end = gap.end() + len(word)
        else:
            if _opens(text, start) and _closes(text, start, end, others[-1] if others else first):
                yield start, end
        start = text.find(first, start + 1)


@lru_cache(_VALUES)
def _parts(value: str) -> tuple[str, ...]:
    """The folded words of a value. Hyphens at its ends are its own; the stop of an abbreviation may be missing."""
    folded = re.sub(r"(?<=[a-z]{2})\.$", "", fold(value).strip())
    core = folded.strip("-_ ")
    if not core:
        return (folded,)
    head, tail = folded[: folded.index(core)], folded[folded.index(core) + len(core) :]
    words = [word for word in _BETWEEN_WORDS.split(core) if word]
    words[0], words[-1] = head.strip() + words[0], words[-1] + tail.strip()
    return tuple(words)


def _opens(text: str, start: int) -> bool:
    unspaced = None if text.isascii() else opens_after(text, start)
    if unspaced is not None:
        return unspaced
    if text[start].isdigit() and not _OPENS_DIGIT.match(text, start):
        return False
    if start and text[start - 1] > "\x7f" and unicodedata.category(text[start - 1]).startswith("M"):
        return False
    pattern = _OPENS if text[start].isalnum() else _OPENS_MARK
    return pattern.match(text, start) is not None


def _closes(text: str, start: int, end: int, last: str) -> bool:
    if last[-1].isdigit() and not _CLOSES_DIGIT.match(text, end):
        return False
    unspaced = None if text.isascii() else closes_before(text, end)
    if unspaced is not None:
        return unspaced
    if end < len(text) and text[end] > "\x7f" and unicodedata.category(text[end]).startswith("M"):
        return False
    if len(last) <= _SHORT and not _CLOSES_SHORT.match(text, end):
        return False
    emphasized = start > 0 and text[start - 1] == "*"
    if text.startswith("*", end) and not emphasized:
        return False
    if "@" in last and not _OPENS_ADDRESS.match(text, start):
        return False
    return _CLOSES.match(text, end) is not None
