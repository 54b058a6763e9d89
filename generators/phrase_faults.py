"""What is wrong with a phrase pattern: it lacks what it must hold, reports, or asks for something else.

Small models ask about a thing instead of asking for it, ask for a likelier thing, or bring words along from the
examples they were shown. Each fault has a reason for counting and a sentence that tells the model.
"""

import re

from envs.spec import Parameter, Tool
from generators.asks import DIFFER, SUM, Ask
from generators.names import noun, plural, singular
from generators.operations import Kind
from generators.sentences import Fault

REPORT = (
    r"(^(the|your|this|it|successfully|done|okay|sure)\b|\b(has|have|had) (already )?been\b|\bwas\b|\bwere\b"
    r"|\bsuccessfully\b|\bthank you for\b|^i (have|will|am going|updated|changed|cancell?ed|created|marked)\b"
    r"|\byou (need|asked|want)\b|\bis complete,)"
)
_ASKING = (
    r"(^(what|how|when|where|is|are|do|does)\b|\b(what should|how (do|can)|status of|whether|check|inform|know|tell me"
    r"|give me|show me|notify|confirm|details|information)\b)"
)
_COUNTING = r"\b(?:how many|number of|count|count of|how often)\b"
_YES_OR_NO = r"^is there\b"
_QUALIFIED = r"\b(currently|active|current|available|upcoming|open|now)\b"
"""What narrows a count without being in the search."""
_TELLS = (
    r"\b(already|please note|being \w+ed|specified)\b|\bis (overdue|late|available|ready|damaged|broken)\b"
    r"|^have you\b|^(we|i) (?!need\b)[a-z]+ed\b|\b(confirm|verify|check|see) (if|whether)\b"
)
"""What tells or doubts that it is done, in a sentence that is to ask for it."""
_WRONG_PERSON = r"^you\b|\byours?\b(?! (help|assistance|support|records|system))"
"""Words to the help desk as if the thing were its own."""
_MORE = (
    r"\b(today|tonight|tomorrow|by this|permission|my home|shopping cart|with my account)\b"
    r"|\bto avoid\b|\bor (de|in)crease\b|\band (the )?[a-z]+ (number|name|id)[.?]$"
    r"|\bso (that )?(we|i|they) can\b|\band (remove|delete|notify|inform|send|add) (it|them|me|us)\b"
)
"""Deeds, times and reasons that no argument stands for."""
_BARE_LIST = r"\},? and \{"
"""Values without the words that tell which is which."""
_EXAMPLES = r"\b(bookings?|courses?|gym)\b"
"""Words of the examples in the prompt."""
_QUESTION = r"(can|could|would|will|may|might|what|how|which|who|whose|when|where|is|are|does|has|have you) "
_MAY_YOU = r"\b(can|could|would|will) (you|i|we)\b"
_ASKS_ON = r", (please |and )?(can|could|would|will|what|how|which|when|where|is|are)\b"


def normalised(pattern: str) -> str:
    """Single spaces, bare placeholders, and the full stop or question mark that belongs to the sentence."""
    text = re.sub(r"\s+", " ", pattern.strip().strip('"').strip())
    text = re.sub(r"\{\s*(\w+)\s*\}", r"{\1}", text)
    text = text if text.endswith((".", "?")) else f"{text.rstrip('!,;:')}."
    if re.match(_QUESTION, text, re.IGNORECASE):
        return f"{text[:-1]}?"
    asks_on = re.search(_ASKS_ON, text, re.IGNORECASE) or re.search(_MAY_YOU, text, re.IGNORECASE)
    return text if asks_on else f"{text[:-1]}."


def pattern_fault(ask: Ask, text: str, siblings: list[str]) -> Fault | None:
    """What is wrong with a pattern that is to say the same as the ask, beside its siblings; None if it can be used."""
    found = re.findall(r"\{(\w*)\}", text)
    needed = ", ".join(f"{{{name}}}" for name in ask.placeholders)
    if sorted(found) != sorted(ask.placeholders):
        return "placeholders", f"every pattern must contain {needed} exactly once and no other braces: '{text}'."
    if re.search(f"{REPORT}|{_TELLS}", text, re.IGNORECASE) or _begins_with_its_thing(ask.tool, text):
        return "report", f"'{text}' tells what happened or answers; write what the customer asks for."
    if re.search(_WRONG_PERSON, text, re.IGNORECASE):
        return "wrong_person", f"'{text}' speaks of the help desk's things; a customer speaks of their own."
    fault = _other_meaning(ask, text)
    if fault is not None:
        return fault
    if re.search(r"[.?!] ", text) or text.startswith("We are {"):
        return "not_one_request", f"'{text}' must be one sentence that asks for exactly this."
    if not 3 <= len(text.split()) <= 22:
        return "length", f"'{text}' must have 3 to 22 words."
    if re.search(r"\b[A-Z]+-\d+|\d{2,}|[_<>\[\]]", re.sub(r"\{\w+\}", "", text)):
        return "leaks_a_value", f"'{text}' must not contain ids, numbers or code besides {needed}."
    if repeated := re.search(r"\b(\w{4,})\b(?:.*\b\1\b){2}", re.sub(r"\{\w+\}", "", text), re.IGNORECASE):
        return "runaway", f"'{text}' says '{repeated[1]}' again and again."
    words = _words(text)
    if any(len(words & _words(s)) / len(words | _words(s)) > 0.85 for s in siblings):
        return "near_duplicate", "the patterns are too much alike; vary the sentence."
    return None


def _other_meaning(ask: Ask, text: str) -> Fault | None:
    bare = re.sub(r"\{\w+\}", "", text).lower()
    if (foreign := re.search(_EXAMPLES, bare)) and foreign.group().rstrip("s") not in ask.plainly.lower():
        return "other_thing", f"'{text}' speaks of a {foreign.group()}; this is about something else: {ask.plainly}"
    if ask.tool.writes:
        return _of_a_write(ask, text)
    # What a model's own tool answers is only known from its description: the grammar asks for its verb.
    return _of_a_read(ask, text, bare) if ask.question else None


def _of_a_read(ask: Ask, text: str, bare: str) -> Fault | None:
    kind, plainly = ask.operation.kind, ask.plainly
    if kind is Kind.TOTAL:
        return None if re.search(SUM, text) else ("does_not_add_up", f"'{text}' must ask for the sum: {plainly}")
    if kind is Kind.COMPARE:
        return None if re.search(DIFFER, text) else ("does_not_compare", f"'{text}' must ask for the difference.")
    if kind is not Kind.FIND:
        vague = re.search(r"\b(information|related|details)\b", bare)
        return ("vague", f"'{text}' must ask for exactly one thing: {plainly}") if vague else None
    if not re.search(_COUNTING, text, re.IGNORECASE) or re.search(_YES_OR_NO, text, re.IGNORECASE):
        return "does_not_count", f"'{text}' must ask how many there are."
    counted = plural(ask.operation.table).split("_")[-1]
    if not re.search(rf"{_COUNTING}( [\w{{}}]+){{0,3}}? {counted[:5]}[a-z]*(?<!ed)\b", text, re.IGNORECASE):
        return "counts_another_thing", f"'{text}' must count {counted}: {plainly}"
    if narrowed := re.search(_QUALIFIED, bare):
        return "says_more", f"'{text}' counts only what is {narrowed.group()}: {plainly}"
    if re.search(r"\b(with|for|in|of) \{status\}[.?]|(?<!there) are[.?]$|\bof \{.*\bhas[.?]$", text, re.IGNORECASE):
        return "not_a_sentence", f"'{text}' is not how a person asks it: {plainly}"
    return None


def _of_a_write(ask: Ask, text: str) -> Fault | None:
    verb, plainly, parameters = ask.verb, ask.plainly, ask.tool.parameters
    asking = [match.group().lower() for match in re.finditer(_ASKING, text, re.IGNORECASE)]
    if any(not words.startswith(verb[:4]) for words in asking):
        return "asks_for_information", f"'{text}' asks about something; ask the help desk to do it: {plainly}"
    if more := re.search(_MORE, text, re.IGNORECASE):
        return "says_more", f"'{text}' adds '{more.group()}': {plainly}"
    if re.search(_BARE_LIST, text) or any(_stands_alone(p, text) for p in parameters if p.type == "integer"):
        return "not_a_sentence", f"'{text}' must say what each value is, such as 'quantity {{quantity}}': {plainly}"
    changed = re.search(
        r"\b(?:change|update|set|modify|adjust) (?:the |my )?([a-z ]{1,40}?) (?:of|for|on) ", text, re.IGNORECASE
    )
    if verb == "change" and changed and not set(changed.group(1).lower().split()) & set(noun(parameters[-1]).split()):
        return "changes_another_thing", f"'{text}' changes the {changed.group(1)}: {plainly}"
    if len(ask.placeholders) > 1:
        return None
    said = re.findall(r"[a-z]+", text.lower())
    if not any(word[:4] == verb[:4] for word in said):
        return "other_meaning", f"'{text}' must say '{verb}': {plainly}"
    if other := next((word for word in said if word in ("extend", "change", "modify", "adjust") and word != verb), ""):
        return "other_meaning", f"'{text}' says '{other}': {plainly}"
    return None


def _begins_with_its_thing(tool: Tool, text: str) -> bool:
    """`Seat {seat_id} is free, please take it` tells before it asks, and nothing else can be put for the id."""
    return any(re.match(rf"{re.escape(noun(p))} \{{{p.name}\}}", text, re.IGNORECASE) for p in tool.parameters)


def _stands_alone(parameter: Parameter, text: str) -> bool:
    """`7 quantity`, `with 7.` and `update the quantity of 7 for …`: a number that is not said to be anything."""
    what, number = re.escape(noun(parameter)), rf"\{{{parameter.name}\}}"
    alike = singular(noun(parameter)) == noun(parameter) and re.search(rf"{number} {what}\b", text)
    return bool(alike or re.search(rf"\bwith {number}[.?]|\b{what} of {number} (for|on) \{{", text))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower()))
