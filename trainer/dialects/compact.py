"""The compact syntax as a dialect: for small models and short contexts, and for models without tools of their own."""

from collections.abc import Collection, Mapping, Sequence

from envs.spec import EnvironmentSpec
from envs.task import Toolbox
from envs.tools import ToolResult
from trainer.dialect import (
    ParsedTurn,
    parse_turn,
    render_answer,
    render_call,
    render_message,
    render_results,
    system_prompt,
)
from trainer.dialects.protocol import Prompt


class Compact:
    """Tools as signatures in the system prompt, one Pythonic call a line, all results of a turn in one message."""

    native = False
    results_role = "tool"
    markers: tuple[str, ...] = ()

    def prompt(
        self,
        spec: EnvironmentSpec,
        toolbox: Toolbox,
        others: Mapping[str, EnvironmentSpec] | None = None,
        *,
        may_ask: bool = False,
    ) -> Prompt:
        return Prompt(system=system_prompt(spec, toolbox, others, may_ask=may_ask))

    def write(self, turn: ParsedTurn, *, may_ask: bool = False) -> str:  # noqa: ARG002
        if turn.answer is not None:
            return render_answer(turn.answer)
        return "\n".join(map(render_call, turn.calls)) if turn.message is None else render_message(turn.message)

    def read(self, text: str, *, may_ask: bool = False) -> ParsedTurn:
        return parse_turn(text, may_ask=may_ask)

    def results(self, results: Sequence[ToolResult], limit_chars: int, words: Collection[int] = ()) -> list[str]:
        return [render_results(results, limit_chars, words)]


COMPACT = Compact()
