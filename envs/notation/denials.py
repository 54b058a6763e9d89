"""What denies a value or a clause, and what affirms it, in the usual languages."""

import re

NEGATION = r"(?:\b(?:not|never|cannot|without|rather than|instead of|no longer)|n't)"
_FOREIGN = (
    r"(?<![^\W_-])(?:nicht|nie|kein(?:e|er|en|em|es)?|niet|geen|pas|jamais|non|nao|nunca|inte|ikke|degil|не|нет|नहीं|ليس"
    r"|no (?:es|son|hay|fue|eran?|esta|estan|tiene|cuesta))"
)
_RESUMED = "but|only|sure|sondern|nur|sino|solo|mais|seulement|ma|maar|mas|а|только"
# Up to two words may stand between a negation and what it denies; "not 30 but 40" tells 40.
_DENIED = re.compile(
    rf"(?:(?:{NEGATION}|{_FOREIGN})(?:\s+(?!(?:{_RESUMED})\b)[^\W\d_]+){{0,2}}\s+[(\"'$€£]?"
    r"|(?:不是|並非|并非|而非|沒有|没有|不在|非|不|ไม่ใช่|ไม่)\s?)\Z"
)
_DENIED_AFTER = re.compile(r"\s?[^\W\d_]{0,2}?(?:(?:では|じゃ|で)(?:な|あり)|[이가은는] 아[니닙닌])")
_REACH = 60
"""Characters before a value in which its denial is looked for."""
NOTHING = re.compile(
    r"\b(?:no|none|nothing|nobody|no one|zero|empty)\b|\bnot any\b|n't any\b"
    r"|\b(?:kein(?:e|er|en)?|nichts|aucune?|rien|ningun[oa]|nada|nessun[oa]|niente|nenhuma?|geen|niets)\b"
    r"|没有|沒有|ありません|없습니다|ไม่มี"
)
YES = re.compile(
    r"\b(?:yes|true|yep|indeed|correct)\b|^\W*(?:ja|oui|si|sim|да|evet|tak|是|是的|对|對|はい|네|예|ใช่)\W*\Z"
)
NO = re.compile(
    rf"{NEGATION}|\b(?:no|false|nope|none|unable|neither|nor)\b|{_FOREIGN}(?![\w-])"
    r"|\b(?:nein|nee)\b|不|没|沒|否|いいえ|ない|ません|아니|않|없|ไม่"
)


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether the value between `start` and `end` of a folded text is denied."""
    before = _DENIED.search(text[max(0, start - _REACH) : start])
    return before is not None or _DENIED_AFTER.match(text, end) is not None
