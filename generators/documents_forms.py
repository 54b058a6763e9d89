"""What the model is asked to write for documents and questions: forms of sentences, and how an answer is judged.

A form is one kind of sentence with placeholders. Its grammar makes the engine keep to it, its checks make any other
model keep to it, and its plain wording takes the place of what is refused.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations
from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema, create_model

from envs.facts import tells
from envs.task import Fact
from generators.plain import is_plain, orders_its_reader
from generators.stage import Corrected, Correction, Refused

WORD = "[A-Za-z-]+,?"
"""What stands between placeholders: no full stop, after which a small model loses the thread, and no apostrophe, since
a placeholder may become a phrase of several words."""
BETWEEN, AFTER = 6, 3
"""Words before or between what must stand in a sentence, and after it. Spelled out, as the engine's grammar knows no
bounded repetition; without a bound a small model that missed its word talks until it is cut off."""
_DENIES = r"\b(not|never|no|without|neither|nor|unknown|if|maybe|perhaps)\b"

_SAID = {
    "birth": ("born",), "death": ("died",), "purchase": ("bought",), "price": ("cost",), "founding": ("established",),
    "weight": ("weighs",), "owned": ("belongs",), "title": ("called",),
}  # fmt: skip
_ADRIFT = (
    r"\b(of|and|with|on|at|in)[.?]$|[A-Za-z]{16}|\ba [aeio]"
    r"|\b(with|using) [a-z]+\?$|\}.* of [a-z]+\?$"
)
"""An end without an end, and a bare noun where a question should know what it asks for."""
_AGAIN = r"\b(\w{2,} \w{2,} \w{2,})\b.*\b\1\b"
_UNIT = r"\}\s+(dollars?|euros?|pounds?|cents?|percent|years?|months?|days?|hours?|people|times|tickets)\b"


@dataclass(frozen=True)
class Form:
    """One kind of sentence or phrase."""

    name: str
    """The field of the answer it stands in."""
    placeholders: tuple[str, ...]
    plainly: tuple[str, ...]
    """Stiff but true wordings."""
    begins: str = ""
    """A regular expression for the first words."""
    ends: str = "."
    """The last character; empty for a phrase, which ends with its last placeholder."""
    required: tuple[str, ...] = ()
    """Regular expressions of the words without which it would say something else."""
    ordered: bool = False
    """Whether the placeholders stand in the order given."""
    last: str = ""
    """A regular expression for the last words, if they are to be these."""
    forbidden: str = r"(?!)"
    """A regular expression that no such sentence may contain."""
    closed: bool = False
    """Whether no required word may come after the last placeholder."""
    sample: tuple[dict[str, str], Fact] | None = None
    """Values and a fact that the sentence must tell when it is filled with them."""

    def pattern(self) -> str:
        """The grammar of one such sentence: a regular expression for the engine and for anybody else."""
        pieces = (*(f"\\{{{name}\\}}" for name in self.placeholders), *self.required)
        gap, lead = f",? {_words(BETWEEN, WORD, after=True)}", _words(BETWEEN, WORD, after=True)
        orders = "|".join(dict.fromkeys(gap.join(order) for order in self._orders(pieces)))
        before = f"{self.begins} {lead}" if self.begins else lead
        after = f"{gap}{self.last}" if self.last else f",?{_words(AFTER, WORD, after=False)}" if self.ends else ""
        return f"^{before}({orders}){after}{re.escape(self.ends)}$"

    def schema(self) -> Any:
        """The type of one such sentence; its JSON schema has the grammar."""
        return Annotated[str, WithJsonSchema({"type": "string", "pattern": self.pattern()})]

    def _orders(self, pieces: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
        """The orders in which the pieces may stand; a phrase ends with a placeholder."""
        first = pieces[: len(self.placeholders)]
        for order in permutations(pieces):
            kept = tuple(piece for piece in order if piece in first)
            if (kept == first or not self.ordered) and (not self.closed or order[-1] in first):
                yield order

    def _rambles(self, text: str) -> bool:
        """Whether a sentence wanders: a clause after a comma, words said again, its thing named twice or lost."""
        names = self.placeholders if len(self.placeholders) == 1 else ()
        apart = (rf"\b(the|a|an|this|that) {name.replace('_', ' ')}\b(?! \{{{name}\}})" for name in names)
        return (
            text.count(",") > (1 if self.ordered else 0)
            or (not self.ordered and re.search(_AGAIN, text, re.IGNORECASE) is not None)
            or re.search(_ADRIFT, text, re.IGNORECASE) is not None
            or any(re.search(again, text, re.IGNORECASE) for again in apart)
        )

    def fault(self, text: str, siblings: list[str], clock: str) -> tuple[str, str] | None:
        """Why a sentence is not of this form, with a reason for counting; None if it is."""
        needed = ", ".join(f"{{{name}}}" for name in self.placeholders)
        bare = re.sub(r"\{\w+\}", "", text)
        found = re.findall(r"\{(\w*)\}", text)
        if sorted(found) != sorted(self.placeholders) or (self.ordered and found != list(self.placeholders)):
            return "placeholders", f"{self.name}: '{text}' must contain {needed} exactly once and no other braces."
        if re.search(r"[^A-Za-z ,.?-]", bare) or not is_plain(bare) or orders_its_reader(bare):
            return "not_plain", f"{self.name}: '{text}' must be plain words without other names, numbers or code."
        if not text.endswith(self.ends or "}") or re.search(r"[.?]\s*\S", bare) or re.search(r"\}\s*\{", text):
            end = f"end with '{self.ends}'" if self.ends else "end with the word in braces"
            return "not_one_sentence", f"{self.name}: '{text}' must be one sentence or phrase and {end}."
        if self._rambles(text):
            return "rambling", f"{self.name}: '{text}' must be a plain sentence of whole words that comes to its point."
        if missing := [word for word in (*self.required, self.last) if not re.search(word, bare)]:
            return "other_meaning", f"{self.name}: '{text}' must contain {_readable(missing[0])}."
        if self.sample is not None and self.sample[1].kind in ("date", "cents") and re.search(_UNIT, text):
            return "unit", f"{self.name}: '{text}' gives a unit to a value that has one."
        if re.search(_DENIES, bare, re.IGNORECASE) or re.search(self.forbidden, text):
            return "says_more", f"{self.name}: '{text}' must not deny, doubt or add anything."
        if not re.fullmatch(self.pattern(), text):
            return "shape", f"{self.name}: '{text}' is too long or does not begin as asked."
        if self.sample is not None and not tells(filled(text, self.sample[0]), self.sample[1], clock):
            return "does_not_tell", f"{self.name}: '{text}' does not tell the value plainly."
        if text.casefold() in (sibling.casefold() for sibling in siblings):
            return "repeated", f"{self.name}: the sentences must differ."
        return None


def response(forms: tuple[Form, ...], most: int) -> type[BaseModel]:
    """The answer with up to `most` sentences of each form."""
    fields: dict[str, Any] = {}
    for form in forms:
        sentence: Any = form.schema()
        fields[form.name] = (list[sentence], Field(min_length=1, max_length=most))
    return create_model("Sentences", **fields)


def accept(forms: tuple[Form, ...], answer: BaseModel, clock: str) -> Corrected[dict[str, tuple[str, ...]]]:
    """Per form its usable sentences; what was left out is a correction, and a form without any is worded plainly.

    Raises Refused if most forms have none.
    """
    accepted: dict[str, tuple[str, ...]] = {}
    faults: list[Correction] = []
    empty = []
    for form in forms:
        kept: list[str] = []
        for given in getattr(answer, form.name):
            text = _normal(given, form.ends)
            fault = form.fault(text, kept, clock)
            if fault is None:
                kept.append(text)
            else:
                faults.append(Correction(*fault))
        if not kept:
            empty.append(Correction("worded_plainly", f"{form.name}: none could be used; they are worded by rule"))
        accepted[form.name] = tuple(kept) or form.plainly
    if faults and 2 * len(empty) > len(forms):
        raise Refused(faults[0].reason, " ".join(fault.detail for fault in faults[:3]))
    return Corrected(accepted, (*faults, *empty))


def filled(pattern: str, values: dict[str, str]) -> str:
    """The pattern with its placeholders filled in, as a sentence."""
    text = put(pattern, values)
    return text[:1].upper() + text[1:]


def put(pattern: str, values: dict[str, str]) -> str:
    """The pattern with its placeholders filled in; a value that brings its noun takes the place of that before it."""
    for name, said in values.items():
        if said.startswith("the "):
            noun = re.escape(name.replace("_", " "))
            pattern = re.sub(rf"\b(?:(?:the|a|an|this|its) )?{noun} \{{{name}\}}", f"{{{name}}}", pattern, flags=re.I)
        pattern = pattern.replace(f"{{{name}}}", said)
    return pattern


def stem(word: str) -> str:
    """A regular expression for a word in its inflections, or for words people say instead, also at the beginning."""
    said = [_inflected(each) for each in (word, *_SAID.get(word, ()))]
    return f"({'|'.join(said)})" if len(said) > 1 else said[0]


def _inflected(word: str) -> str:
    kept = re.sub(r"(ings?|ed|en|es|e|s|y|n)$", "", word) if len(word) > 4 else word
    kept = kept if len(kept) > 2 else word
    return f"[{kept[0].upper()}{kept[0]}]{kept[1:]}[a-z]*"


def _words(count: int, word: str, *, after: bool) -> str:
    """Up to so many words, each with a space after or before it."""
    expression = ""
    for _ in range(count):
        expression = f"({word} {expression})?" if after else f"( {word}{expression})?"
    return expression


def _normal(text: str, ends: str) -> str:
    text = re.sub(r"\s+", " ", text).strip(" \"'")
    text = re.sub(r"\{\s*(\w+)\s*\}", r"{\1}", text)
    return text if text.endswith(ends or "}") else text.rstrip(" .,;:!?") + ends


def _readable(expression: str) -> str:
    return re.sub(r"\[(\w)\w\]", lambda match: match[1].lower(), expression).replace("[a-z]*", "…")
