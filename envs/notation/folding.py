"""One form for all typographic variants of a text: what looks alike is equal after `fold`, and nothing else is.

Letters lose case and accents, digits of every script become 0 to 9, and spaces, hyphens and quotes become the ASCII
ones. Superscripts, fractions such as `½` and circled digits keep their own characters: `10²` is not `102`.
"""

import re
import unicodedata
from functools import lru_cache

from envs.notation.markup import without_markup
from envs.notation.scripts import UNSPACED

_FOLDED_TEXTS = 512
"""Texts whose folded form is remembered: one answer is asked for many facts."""
_KEPT = re.compile("([²³¹¼½¾ªº⁰ⁱ⁴-ⁿ⅐-⅟↉①-⒛⓪-⓿❶-➓㈠-㈩㉈-㉏㉑-㉟㊀-㊉㊱-㊿🄀-🄌]+)")
"""Characters that compatibility normalization would turn into plain digits beside the digits before them."""
_CHARACTERS = str.maketrans(
    dict.fromkeys("’‘‛ʼʻ′´ʹ＇ꞌ", "'")
    | dict.fromkeys("“”„‟«»″＂", '"')
    | dict.fromkeys("‐‑‒–﹣－⁃֊־", "-")
    | dict.fromkeys("—―⸺⸻﹘", " - ")
    | dict.fromkeys("−➖", "−")
    | dict.fromkeys("〜～∼˜", "~")
    | dict.fromkeys("™℠®©ـ")  # a tatweel only stretches an Arabic word
    | {"：": ": ", "、": ", ", "،": ", ", "。": ". ", "｡": ". ", "？": "? ", "！": "! ", "؟": "? "}
    | {"٫": ".", "٬": ",", "٪": "%", "；": "; ", "⁄": "/", "∕": "/"}
    | {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"}
)
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_EURO_AS_MARK = re.compile(r"(\d)€(\d\d)(?!\d)")
_KEYCAP = re.compile("[0-9]\ufe0f?\u20e3")
_GROUP_SPACE = re.compile("(?<=\\d)[\u00a0\u202f\u2007-\u200a](?=\\d{3}(?!\\d))")
"""Spaces that do not break a line, between digits: they group them."""
_WIDE_COMMA = re.compile(r"，(?!\d{3}(?!\d))")
_COLON_OF_TIME = re.compile(r"(?<=\d): (?=\d\d)")
_LATIN_OR_GREEK_MARKS = re.compile("([\u0000-\u03ff])[\u0300-\u036f]+")
_OPTIONAL_POINTS = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u0652\u0670]")
"""Vowel points of Hebrew and Arabic, which are mostly left out."""
_MINUS = re.compile(r"(?<![\w)\]])(?<![\d)\]]\s)−\s?(?=[\d$€£¥₹.])")
"""A minus sign before an amount with no other before it."""
_ESCAPE = re.compile(r"\\(?:[()\[\]]|(?=[_*$~#+.-]))")
"""Backslashes of Markdown, and the brackets of formulas."""
_STRONG = re.compile(r"(?<!\d)\*\*|\*\*(?!\d)")
_UNDERLINED = re.compile(r"(?<!\w)_+(?=\w)|(?<=\w)_+(?!\w)")
_COLUMN_GAP = re.compile(r"(?<=\d)(?: {2,}| *\t[ \t]*)(?=\d)")
_TITLE_STOP = re.compile(r"(?<!\w)(dr|mrs?|ms|st|jr|sr)\.(?= [a-z])")
"""The stop of an abbreviation before a name, which may be missing."""
_WORD_GAP = re.compile(r"(?<!\d)[ \t]+|[ \t]+(?=\D)| +")


_MILLIONS = re.compile(r"(?<![\w.,-])(\d[\d.,]*+) ?M(?!\w)")
"""An upper-case `M`; in lower case they are meters."""


_ASCII_WORD = re.compile(r"[a-z]+")
_WORD = re.compile(rf"(?:[^\W\d_{UNSPACED}]|[\u0900-\u0dff])+")
"""Python takes the vowel signs of India's scripts for no letters. Words of unspaced scripts cannot be told apart."""


@lru_cache(_FOLDED_TEXTS)
def words(text: str) -> frozenset[str]:
    """The words of a folded text: most notations need one of a few, and most texts have none of these."""
    return frozenset((_ASCII_WORD if text.isascii() else _WORD).findall(text))


@lru_cache(_FOLDED_TEXTS)
def fold(text: str) -> str:
    """The text without case, accents, emphasis and typographic variants."""
    if "&" in text or "\\" in text or "{" in text or "~" in text or "<" in text:
        text = without_markup(text)
    if "M" in text:
        text = _MILLIONS.sub(r"\1 million", text)
    text = (text.casefold() if text.isascii() else _fold_unicode(text)).replace("`", "'")
    if "*" in text or "_" in text or "\\" in text:
        text = _UNDERLINED.sub("", _STRONG.sub("", _ESCAPE.sub("", text)))
    if "." in text:
        text = _TITLE_STOP.sub(r"\1", text)
    if "  " not in text and "\t" not in text:
        return text
    # A wide gap separates the columns of a table; a single space may group the digits of a number.
    return _WORD_GAP.sub(" ", _COLUMN_GAP.sub("\t", text))


def _fold_unicode(text: str) -> str:
    text = _EURO_AS_MARK.sub(r"\1.\2 €", text)
    text = _INVISIBLE.sub("", _KEYCAP.sub("•", text))
    text = _WIDE_COMMA.sub(", ", _GROUP_SPACE.sub("_", text)).translate(_CHARACTERS)
    pieces = _KEPT.split(text)
    text = "".join(piece if index % 2 else unicodedata.normalize("NFKC", piece) for index, piece in enumerate(pieces))
    text = "".join(str(unicodedata.decimal(c)) if c > "\x7f" and c.isdecimal() else c for c in text)
    text = unicodedata.normalize("NFD", text.casefold().translate(_CHARACTERS))
    text = _OPTIONAL_POINTS.sub("", _LATIN_OR_GREEK_MARKS.sub(r"\1", text)).replace("е\u0308", "е")
    text = _COLON_OF_TIME.sub(":", _MINUS.sub("-", text)).replace("−", "-")
    return unicodedata.normalize("NFC", text)
