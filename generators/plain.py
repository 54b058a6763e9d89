"""What text of a model may stand in rows and descriptions: words that a person could have typed, and no orders.

A row is read by the policy that is trained. Text that speaks to its reader, that looks like other letters than it is
made of, or that cannot be seen does not belong there.
"""

import re
import unicodedata

MARKUP = re.compile(r"[{}<>\[\];|`\\\"]")
ALIKE = {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"}
"""Scripts with letters that cannot be told apart by eye."""
ORDERS = re.compile(
    r"\b(ignore|disregard|forget|override|bypass|reveal|repeat|print)\b.{0,40}"
    r"\b(instructions?|prompts?|polic(y|ies)|rules?|above|previous|prior|system)\b"
    r"|\b(you are now|pretend to be|jailbreak|system prompt|developer mode|new instructions?)\b"
    r"|^\s*(system|assistant|developer|tool)\s*:",
    re.IGNORECASE,
)


def normal(text: str) -> str:
    """The text in compatibility form (wide and styled letters become plain ones) with single spaces."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip()


def printable(text: str) -> str:
    """The text without what cannot be seen: control, zero-width and direction characters."""
    return normal("".join(c if c.isprintable() else " " for c in text))


def orders_its_reader(text: str) -> bool:
    """Whether the text speaks to a model that reads it instead of naming something."""
    return ORDERS.search(text) is not None


def is_plain(text: str) -> bool:
    """Whether it is words, in letters that are what they look like, without markup."""
    return text.isprintable() and not MARKUP.search(text) and not any(map(_looks_alike, text.split()))


def _looks_alike(word: str) -> bool:
    scripts = {unicodedata.name(letter, "").split(" ")[0] for letter in word if letter.isalpha()}
    return len(scripts & ALIKE) > 1
