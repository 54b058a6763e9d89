"""Numerals that multiply by characters: `1万5千`, `三百五十`, `5만`. Read whole or not at all.

`三百五` is not read: it is 350 in Chinese and 305 in Japanese.
"""

import re
from decimal import Decimal

_DIGITS = {character: number for number, character in enumerate("〇一二三四五六七八九")} | {"零": 0, "两": 2, "兩": 2}
_SMALL_SCALES = {"十": 10, "百": 100, "千": 1000, "십": 10, "백": 100, "천": 1000}
_LARGE_SCALES = dict.fromkeys("万萬만", 10**4) | dict.fromkeys("亿億억", 10**8) | dict.fromkeys("兆조", 10**12)
_SCALES = "".join([*_SMALL_SCALES, *_LARGE_SCALES])
MULTIPLIED = re.compile(rf"[{_SCALES}](?:[\d.,]*[{''.join(_DIGITS)}{_SCALES}])*\d*")
"""What may follow digits that are multiplied."""
NUMERAL = re.compile(rf"[{''.join(_DIGITS)}{''.join(c for c in _SCALES if c < '가')}]+")
_TOKEN = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|.")


def numeral_value(numeral: str) -> Decimal | None:
    """The value of a numeral, which may begin with digits; None if it is not one number."""
    total = section = Decimal(0)
    digit: Decimal | None = None
    last_scale, largest, padded = 0, 10**16, False
    for token in _TOKEN.findall(numeral):
        if token in _SMALL_SCALES:
            scale = _SMALL_SCALES[token]
            if last_scale and scale >= last_scale and last_scale < 10**4:
                return None
            section += (1 if digit is None else digit) * scale
            digit, last_scale, padded = None, scale, False
        elif token in _LARGE_SCALES:
            scale = _LARGE_SCALES[token]
            if scale >= largest or not section + (digit or 0):
                return None
            total += (section + (digit or 0)) * scale
            section, digit, last_scale, largest, padded = Decimal(0), None, scale, scale, False
        elif token in "〇零" and last_scale:
            padded = True
        elif digit is not None or not (token in _DIGITS or token[0].isdigit()):
            return None
        else:
            digit = Decimal(_DIGITS[token]) if token in _DIGITS else Decimal(token.replace(",", ""))
    if digit is not None and last_scale >= 100 and not padded and digit < 10:
        return None
    return total + section + (digit or 0)
