"""Progress of a collection: what was there before is no success and no speed of this one."""

import io

from rich.console import Console

from trainer.fanout import Ended
from trainer.progress import watched


def test_the_line_counts_what_ends_now_and_how_fast() -> None:
    out = io.StringIO()
    with watched("training, demo-0000", 10, 4, Console(file=out, force_terminal=True, width=160)) as hear:
        for number in range(3):
            hear(Ended(str(number), solved=number == 0, completion_tokens=50))
    shown = out.getvalue()
    assert "7/10" in shown and "1 of 3 solved" in shown
    assert "rollouts/s" in shown and "tok/s" in shown
