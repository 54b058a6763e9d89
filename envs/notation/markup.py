"""Markup around values: HTML entities, LaTeX spacing and commands, and what is struck through, which is not stated."""

import html
import re

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8}\d{0,2});")
_STRUCK = re.compile(
    r"~~(?=\S)[^\n]{0,500}?\S~~|<(?P<tag>del|s|strike)>.{0,500}?</(?P=tag)>", re.DOTALL | re.IGNORECASE
)
_GROUP_MARK = re.compile(r"(?<=\d)(?:\{(?P<mark>[.,])\}|\\[,;:! ](?=\d{3}(?!\d)))(?=\d)")
"""`1{,}000` and `1\\,000` of a formula."""
_COMMAND = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|operatorname|boxed|mbox)\s?\{(?P<content>[^{}]*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\s?\{(?P<upper>[^{}]*)\}\s?\{(?P<lower>[^{}]*)\}")
_SCRIPT = re.compile(r"(?<=[_^])\{(?P<content>[^{}]*)\}")
_FORMULA_SPACE = re.compile(r"\\[,;:!](?=\s?[\w\\])|~(?=\\(?:text|mathrm))")
_SYMBOLS = (("\\times", "×"), ("\\cdot", "·"), ("\\approx", "≈"), ("\\pm", "±"))


def without_markup(text: str) -> str:
    """The text as a reader sees it once it is rendered."""
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    if "~~" in text or "<" in text:
        text = _STRUCK.sub(" ", text)
    return _without_formulas(text) if "\\" in text or "{" in text else text


def _without_formulas(text: str) -> str:
    text = _GROUP_MARK.sub(lambda group: group["mark"] or "_", text)
    text = _FORMULA_SPACE.sub(" ", text)
    text = _SCRIPT.sub(r"\g<content>", _FRACTION.sub(r"\g<upper>/\g<lower>", text))
    for _ in range(2):  # `\boxed{5\text{ kg}}`
        text = _COMMAND.sub(lambda command: command["content"], text)
    for name, symbol in _SYMBOLS:
        text = text.replace(name, symbol)
    return text
