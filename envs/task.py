"""What a task is, as data: a request, a golden program, and the goal that its verdict is taken against."""

from typing import Literal, TypeAlias

from pydantic import Field, JsonValue

from envs.record import Record

FactKind: TypeAlias = Literal["text", "integer", "number", "cents", "date", "datetime", "boolean"]


class ToolCall(Record):
    """A tool and its arguments."""

    tool: str
    arguments: dict[str, JsonValue]


class Change(Record):
    """One row's net change. An insert has no `old`, a delete no `new`; an update holds the changed columns only."""

    table: str
    operation: Literal["insert", "update", "delete"]
    key: str
    old: dict[str, JsonValue] = Field(default_factory=dict)
    new: dict[str, JsonValue] = Field(default_factory=dict)


class Fact(Record):
    """Something the answer must tell. Compared by value after normalisation (`envs.facts`), never as a substring."""

    label: str
    kind: FactKind
    value: JsonValue
    """A value of that kind, or a list of such values: then each must be told, in any order."""
    unit: str = ""
    """What a number counts, such as `kg` or `minutes`: `1.5 kg` then tells 1500 g, and `1500 kg` does not."""


class Goal(Record):
    """The state to reach, as net changes sorted by table and key, and the facts to tell."""

    changeset: tuple[Change, ...] = ()
    facts: tuple[Fact, ...] = ()


class Toolbox(Record):
    """What one rollout may use and what it costs. Sampled per task: prices are to be read, not learnt."""

    tools: tuple[str, ...]
    call_prices_usd: dict[str, float]
    """Price of one call, per tool."""
    input_usd_per_mtok: float
    output_usd_per_mtok: float


class Preference(Record):
    """How the user wants it done: a sentence, and the vector P of the reward (arXiv 2511.21689), weights >= 0."""

    text: str = ""
    accuracy: float = 1.0
    cost: float = 0.0
    latency: float = 0.0
    tools: dict[str, float] = Field(default_factory=dict)


class Task(Record):
    """A request in one environment, with the program that fulfils it and the goal it is judged by."""

    environment_id: str
    domain: str
    instruction: str
    golden: tuple[ToolCall, ...]
    golden_answer: str
    """An answer that tells every fact of the goal."""
    goal: Goal
    difficulty: int
    """The number of golden calls."""
    toolbox: Toolbox
    preference: Preference = Preference()
    made_from: tuple[str, ...] = ()
    """Ids of the LLM calls whose words are in the instruction."""


class Rejection(Record):
    """Something proposed and not accepted: never dropped, always with its reason."""

    domain: str
    stage: str
    """Where: `tables`, `values`, `operations`, `phrases`, `programs`, `proof`, …"""
    reason: str
    """A short code for counting, such as `not_vacuous` or `schema`."""
    detail: str
    subject: JsonValue
    """What was proposed."""
    made_from: tuple[str, ...] = ()
