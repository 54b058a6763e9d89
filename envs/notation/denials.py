"""What denies a value or a clause, and what affirms it, in the usual languages."""

import re

from envs.notation.folding import words

NEGATION = r"(?:\b(?:not|never|cannot|without|rather than|instead of|no longer|neither|nor)|n't)"
_FOREIGN = (
    r"(?<![^\W_-])(?:nicht|nie|kein(?:e|er|en|em|es)?|niet|geen|pas|jamais|non|nao|nunca|inte|ikke|degil|не|нет|नहीं|ليس"
    r"|no (?:es|son|hay|fue|eran?|esta|estan|tiene|cuesta))"
)
_RESUMED = (
    "(?:more|less|fewer|higher|lower) than|but|only|sure|sondern|nur|sino|solo|mais|seulement|ma|maar|mas|а|только"
)
# Up to two words may stand between a negation and what it denies; "not 30 but 40" tells 40.
_DENIED = re.compile(
    rf"(?:(?:{NEGATION}|{_FOREIGN})(?:\s+(?!(?:{_RESUMED})\b)[^\W\d_]+){{0,2}}\s+[(\"'$€£]?"
    r"|(?:\bweder(?:\s[^\W\d_]+){0,2}|\bweder\b[^.;\n]*\bnoch|(?<![^\W_])(?:ni|nem|ne))\s"
    r"|(?:不是|並非|并非|而非|沒有|没有|不在|非|不|ไม่ใช่|ไม่)\s?)\Z"
)
_CUE_LINES = (
    "not never cannot without rather instead no neither nor nicht nie kein keine keiner keinen keinem keines niet geen",
    "pas jamais non nao nunca inte ikke degil weder ni nem ne",
)
_CUES = frozenset(word for line in _CUE_LINES for word in line.split())
"""Without one of these words, `n't` and letters beyond ASCII nothing is denied: most texts have none."""
_DENIED_AFTER = re.compile(r"\s?[^\W\d_]{0,2}?(?:(?:では|じゃ|で)(?:な|あり)|[이가은는] 아[니닙닌])")
_REACH = 60
"""Characters before a value in which its denial is looked for."""
IGNORANCE = re.compile(
    r"\b(?:(?:do|does|did|could|can|would|am)(?: not|n't)|cannot|can't|unable to|not able to|never)"
    r" (?:\w+ ){0,2}?(?:know|tell|say|sure|determine|verify|confirm|check|see|access|certain"
    r"|find (?:out|the|this|that|your|it|such|any information)"
    r"|have (?:\w+ )?(?:information|access|details))\b"
    r"|\b(?:not (?:\w+ )?(?:sure|certain|clear)|unsure|uncertain|unclear|unknown|maybe|perhaps"
    r"|no (?:idea|information|way))\b"
    r"|\bweiss (?:\w+ )?nicht|nicht sicher|vielleicht|sais pas|pas sur|peut-etre|no (?:lo )?se\b|quizas?\b"
    r"|\bnon (?:lo )?so\b|forse\b|nao sei\b|talvez\b|не знаю|не уверен|может быть"
    r"|不知道|不清楚|不确定|不確定|可能|也许|わかりません|分かりません|不明|모르|ไม่ทราบ|ไม่รู้|ไม่แน่ใจ"
)
"""A clause that says that the answer is not known: it neither affirms nor denies."""
NOTHING = re.compile(
    r"\b(?:no|none|nothing|nobody|no one|zero|empty)\b|\bnot any\b|n't any\b"
    r"|\b(?:kein(?:e|er|en)?|nichts|aucune?|rien|ningun[oa]|nada|nessun[oa]|niente|nenhuma?|geen|niets)\b"
    r"|\bno hay\b|\bnao (?:ha|tem|existem?)\b|\bnon (?:ci sono|c'e|ha)\b|\bn'(?:y )?a(?:vez|i|ons)? pas\b"
    r"|(?<!\w)(?:нет|ничего)(?!\w)|لا (?:توجد|يوجد)|नहीं (?:है|हैं)|\btidak ada\b|\byok(?:tur)?\b|^\W*\[\]\W*\Z"
    r"|没有|沒有|ありません|없습니다|ไม่มี"
)
YES = re.compile(
    r"\b(?:yes|true|yep|indeed|correct)\b|^\W*(?:ja|oui|si|sim|да|evet|tak|是|是的|对|對|はい|네|예|ใช่|haan|हां|हाँ|نعم|ya)\W*\Z"
)
NO = re.compile(
    rf"{NEGATION}|\b(?:no|false|nope|none|unable)\b|{_FOREIGN}(?![\w-])"
    r"|\b(?:nein|nee|tidak|hayir)\b|(?<!\w)لا(?!\w)|不|没|沒|否|いいえ|ない|ません|아니|않|없|ไม่"
)


def is_denied(text: str, start: int, end: int) -> bool:
    """Whether the value between `start` and `end` of a folded text is denied."""
    if text.isascii() and _CUES.isdisjoint(words(text)) and "n't" not in text:
        return False
    before = _DENIED.search(text[max(0, start - _REACH) : start])
    return before is not None or _DENIED_AFTER.match(text, end) is not None
