"""The parts of the documentation that are made from columns. `python -m warehouse.pages` writes them anew in `docs/`.

A part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; the rest of a page is written by hand.
"""

import re
from pathlib import Path

from warehouse.export.card import columns_table
from warehouse.export.rollout_columns import COMPLETIONS, EXAMPLES, INSTRUCTIONS, PAIRS, ROLLOUTS, TOKENS
from warehouse.export.task_columns import ENVIRONMENTS, TASKS, VERL
from warehouse.tables import documented_tables

DOCS = Path(__file__).parents[1] / "docs"
CONFIGURATIONS = (TASKS, ENVIRONMENTS, VERL, ROLLOUTS, PAIRS, INSTRUCTIONS, EXAMPLES, COMPLETIONS, TOKENS)


def parts() -> dict[str, dict[str, str]]:
    """Page → name of a part → its text."""
    return {
        "warehouse.md": {"tables": documented_tables()},
        "exporting.md": {f"columns of {each.name}": columns_table(each) for each in CONFIGURATIONS},
    }


def written_anew(page: str, texts: dict[str, str]) -> str:
    """The page with these parts. Raises ValueError unless it has the marks of each part exactly once."""
    for name, text in texts.items():
        begin, end = f"<!-- begin {name} -->\n", f"\n<!-- end {name} -->"
        pieces = re.split(f"(?<={begin}).*?(?={end})", page, flags=re.DOTALL)
        if len(pieces) != 2:
            raise ValueError(f'{len(pieces) - 1} parts "{name}": write its marks once, on lines of their own.')
        page = text.join(pieces)
    return page


if __name__ == "__main__":
    for file, texts in parts().items():
        (DOCS / file).write_text(written_anew((DOCS / file).read_text(encoding="utf-8"), texts), encoding="utf-8")
