"""What is wrong with a phrase pattern: it lacks what it must hold, reports, or asks for something else.

Small models ask about a thing instead of asking for it, ask for a likelier thing, or bring words along from the
examples they were shown. Each fault has a reason for counting and a sentence that tells the model.
"""

import re

from envs.spec import Tool
from generators.names import noun
from generators.read_tools import COMPARE, FIND, TOTAL
from generators.sentences import Fault

FIELD = "field"
"""The placeholder for what the user wants to know of a row."""
REPORT = (
    r"(^(the|your|this|it|successfully|done|okay|sure)\b|\b(has|have|had) (already )?been\b|\bwas\b|\bwere\b"
    r"|\bsuccessfully\b|\bthank you for\b|^i (have|will|am going|updated|changed|cancell?ed|created|marked)\b"
    r"|\byou (need|asked|want)\b|\bis complete,)"
)
_ASKING = (
    r"(^(what|how|when|where|is|are|do|does)\b|\b(what should|how (do|can)|status of|whether|check|inform|know|tell me"
    r"|give me|show me|notify|confirm|details|information)\b)"
)
_COUNTING = r"\b(how many|number of|count|how often)\b"
_QUALIFIED = r"\b(currently|active|current|available|upcoming|open|now)\b"
"""What narrows a count without being in the search."""
SUM = "([Tt]otal|[Ss]um|[Aa]dd up|[Aa]ltogether)"
DIFFER = "[Dd]iffer[a-z]*"
_EXAMPLES = r"\b(bookings?|courses?|gym)\b"
"""Words of the examples in the prompt."""
_QUESTION = r"(can|could|would|will|may|might|what|how|which|who|whose|when|where|is|are|does) "
_ASKS_ON = r", (please |and )?(can|could|would|will|what|how|which|when|where|is|are)\b"


def normalised(pattern: str) -> str:
    """Single spaces, bare placeholders, and the full stop or question mark that belongs to the sentence."""
    text = re.sub(r"\s+", " ", pattern.strip().strip('"').strip())
    text = re.sub(r"\{\s*(\w+)\s*\}", r"{\1}", text)
    text = text if text.endswith((".", "?")) else f"{text.rstrip('!,;:')}."
    if re.match(_QUESTION, text, re.IGNORECASE):
        return f"{text[:-1]}?"
    if re.match("(please|i|we) ", text, re.IGNORECASE) and not re.search(_ASKS_ON, text, re.IGNORECASE):
        return f"{text[:-1]}."
    return text


def pattern_fault(
    tool: Tool, placeholders: tuple[str, ...], plainly: str, text: str, siblings: list[str]
) -> Fault | None:
    """What is wrong with a pattern that is to say `plainly`, beside its siblings; None if it can be used."""
    found = re.findall(r"\{(\w*)\}", text)
    needed = ", ".join(f"{{{name}}}" for name in placeholders)
    if sorted(found) != sorted(placeholders):
        return "placeholders", f"every pattern must contain {needed} exactly once and no other braces: '{text}'."
    if re.search(REPORT, text, re.IGNORECASE):
        return "report", f"'{text}' tells what happened or answers; write what the customer asks for."
    fault = _other_meaning(tool, placeholders, plainly, text)
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


def _other_meaning(tool: Tool, placeholders: tuple[str, ...], plainly: str, text: str) -> Fault | None:
    bare = re.sub(r"\{\w+\}", "", text).lower()
    if (foreign := re.search(_EXAMPLES, bare)) and foreign.group().rstrip("s") not in plainly.lower():
        return "other_thing", f"'{text}' speaks of a {foreign.group()}; this is about something else: {plainly}"
    if tool.writes:
        return _of_a_write(tool, placeholders, plainly, text)
    # What a model's own tool answers is only known from its description: the grammar asks for its verb.
    return _of_a_read(tool, plainly, text, bare) if plainly.startswith("Ask ") else None


def _of_a_read(tool: Tool, plainly: str, text: str, bare: str) -> Fault | None:
    if tool.name.startswith(TOTAL):
        return None if re.search(SUM, text) else ("does_not_add_up", f"'{text}' must ask for the sum: {plainly}")
    if tool.name.startswith(COMPARE):
        return None if re.search(DIFFER, text) else ("does_not_compare", f"'{text}' must ask for the difference.")
    if tool.shape == "one":
        vague = re.search(r"\b(information|related|details)\b", bare)
        return ("vague", f"'{text}' must ask for exactly one thing: {plainly}") if vague else None
    if not re.search(_COUNTING, text, re.IGNORECASE):
        return "does_not_count", f"'{text}' must ask how many there are."
    counted = tool.name.removeprefix(FIND).split("_by_")[0].split("_")[-1]
    if counted[:5] not in bare:
        return "counts_another_thing", f"'{text}' must count {counted}: {plainly}"
    if narrowed := re.search(_QUALIFIED, bare):
        return "says_more", f"'{text}' counts only what is {narrowed.group()}: {plainly}"
    return None


def _of_a_write(tool: Tool, placeholders: tuple[str, ...], plainly: str, text: str) -> Fault | None:
    verb = tool.description.split()[0].lower()
    if (match := re.search(_ASKING, text, re.IGNORECASE)) and not match.group().lower().startswith(verb[:4]):
        return "asks_for_information", f"'{text}' asks about something; ask the help desk to do it: {plainly}"
    changed = re.search(
        r"\b(?:change|update|set|modify|adjust) (?:the |my )?([a-z ]{1,40}?) (?:of|for|on) ", text, re.IGNORECASE
    )
    if (
        verb == "change"
        and changed
        and not set(changed.group(1).lower().split()) & set(noun(tool.parameters[-1]).split())
    ):
        return "changes_another_thing", f"'{text}' changes the {changed.group(1)}: {plainly}"
    if len(placeholders) > 1:
        return None
    wanted = {verb[:4], *(word[:4] for word in tool.name.split("_")[:1])}
    said = re.findall(r"[a-z]+", text.lower())
    if not any(word[:4] in wanted for word in said):
        return "other_meaning", f"'{text}' must say '{verb}': {plainly}"
    if other := next((word for word in said if word in ("extend", "change", "modify", "adjust") and word != verb), ""):
        return "other_meaning", f"'{text}' says '{other}': {plainly}"
    return None


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower()))
