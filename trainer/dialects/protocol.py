"""What a dialect is: it words the opening of a rollout, and writes and reads the turns. Text only, no tokens."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from envs.record import Record
from envs.spec import EnvironmentSpec
from envs.task import Toolbox
from envs.tools import ToolResult
from trainer.dialect import ParsedTurn

DialectName: TypeAlias = Literal["auto", "compact", "hermes", "llama"]
"""As campaigns name them; `auto` is the tokenizer's own."""


class Prompt(Record):
    """What a rollout opens with, before the chat template gives it its form."""

    system: str
    tools: tuple[dict[str, Any], ...] = ()
    """Functions with their JSON schemas, for chat templates that show tools themselves."""


class Dialect(Protocol):
    """One syntax. `read` takes what `write` gives."""

    @property
    def native(self) -> bool:
        """Whether the chat template has a form for tools, which is then used."""
        ...

    @property
    def results_role(self) -> str:
        """Who speaks, for the chat template, when results are told."""
        ...

    @property
    def markers(self) -> tuple[str, ...]:
        """What is syntax in a prompt: broken up where tools or people say it."""
        ...

    def prompt(
        self,
        spec: EnvironmentSpec,
        toolbox: Toolbox,
        others: Mapping[str, EnvironmentSpec] | None = None,
        *,
        may_ask: bool = False,
    ) -> Prompt:
        """What the policy is told of environment, toolbox and format; arguments as of `dialect.system_prompt`."""
        ...

    def write(self, turn: ParsedTurn, *, may_ask: bool = False) -> str:
        """The completion that means `turn`."""
        ...

    def read(self, text: str, *, may_ask: bool = False) -> ParsedTurn:
        """What a completion means. What cannot be read is malformed, with a reason to recover from."""
        ...

    def results(self, results: Sequence[ToolResult], limit_chars: int, words: Collection[int] = ()) -> list[str]:
        """What the policy is told after a turn, as messages; arguments as of `dialect.render_results`."""
        ...
