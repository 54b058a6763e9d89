"""A folded lineage as the text of a Mermaid flowchart, which GitHub, GitLab and many editors draw in Markdown.

Dagster's UI does not: there `dagster_project.lineage_picture` shows an image.
"""

from warehouse.queries.lineage_fold import Folded

_CODES = {'"': "#quot;", "#": "#35;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\\": "#92;"}
_ESCAPED = str.maketrans(_CODES)
"""What Mermaid, or the Markdown around it, would take for more than text."""


def mermaid(folded: Folded) -> str:
    """The flowchart; arrows lead from parent to child."""
    lines = ["flowchart BT" if folded.up else "flowchart TB"]
    for number, group in enumerate(folded.groups):
        words = "<br/>".join(_escaped(text) for text in group.words if text)
        lines.append(f'  n{number}["{words}"]')
    for near, far in sorted(folded.bare):
        parent, child = (far, near) if folded.up else (near, far)
        lines.append(f'  n{parent} -->|"{_escaped(folded.said((near, far)))}"| n{child}')
    return "\n".join([*lines, ""])


def mermaid_markdown(folded: Folded) -> str:
    """The flowchart as a block of Markdown."""
    return f"```mermaid\n{mermaid(folded)}```\n"


def _escaped(text: str) -> str:
    return " ".join(text.split()).translate(_ESCAPED)
