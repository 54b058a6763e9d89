"""Words and signs that make a number a strict bound or a near miss: whoever says `more than 40` does not say 40.

Bounds that include the number tell it, as `up to 5 books` tells a limit of five, and so does `about 40`.
"""

import re

_BEFORE = re.compile(
    r"""(?:(?:(?<!\S)[<>]|\b(?:(?:more|less|fewer|greater|higher|lower)[ ]than|over|under|above|below
    |exceed(?:s|ing)?|beyond|almost
    |nearly|not[ ]quite|just[ ](?:under|over|short[ ]of)|mehr[ ]als|weniger[ ]als|uber|unter|fast|beinahe
    |plus[ ]de|moins[ ]de|presque|mas[ ]de|menos[ ]de|casi|mais[ ]de|quase|piu[ ]di|meno[ ]di|quasi|meer[ ]dan
    |minder[ ]dan|bijna|более|менее|больше|меньше|почти|свыше))[ ]?(?:the[ ])?
    |(?:超过|超過|不到|少于|少於|多于|多於|大于|大於|小于|小於|低于|低於|高于|高於|将近|接近)[ ]?)\Z""",
    re.VERBOSE,
)
_INCLUSIVE = re.compile(r"\b(?:no|not|nicht|non|pas|no es|nao|не)[ ]\Z")
"""What turns a strict bound into one that includes the number: `no more than 40`."""
_SPREAD = re.compile(r"\b(?:over|above|below|under|uber|unter)[ ](?:the[ ])?\Z")
_SPREAD_OVER = re.compile(r"[ -]?(?:hours?|days?|nights?|weeks?|months?|years?|stunden|tage|wochen|monate|jahre)\b")
_AFTER = re.compile(r"[ ]?(?:未満|より(?:多|少|大|小)|を超え|초과|미만|से (?:ज्यादा|कम|अधिक))")
_REACH = 20


def is_strict_bound(text: str, start: int, end: int) -> bool:
    """Whether a folded text states the number between `start` and `end` only as a bound that excludes it."""
    if _AFTER.match(text, end):
        return True
    before = text[max(0, start - _REACH) : start]
    bound = _BEFORE.search(before)
    if bound is None or _INCLUSIVE.search(before[: bound.start()]):
        return False
    return not (_SPREAD.search(before) and (_SPREAD_OVER.match(text, end) or _SPREAD_OVER.search(text[start:end])))
