"""What a task is, as data: a request, a golden program, and the goal that its verdict is taken against."""

from typing import Literal, TypeAlias

from pydantic import Field, JsonValue

from envs.display import Shown, count, one_line, short_id, table
from envs.record import Record

FactKind: TypeAlias = Literal["text", "integer", "number", "cents", "date", "datetime", "boolean"]
MAX_CALLS_A_TURN = 8
"""Calls that a policy or an expert may make at once."""


class ToolCall(Record):
    """A tool's name and its arguments as JSON values: `ToolCall(tool="get_loan", arguments={"loan_id": "L-1"})`."""

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
    drawn_from: tuple["Fact", ...] = ()
    """What it is worked out from where no single answer holds it, such as the two dates of a number of days."""


class Goal(Record):
    """The state to reach, as net changes sorted by table and key, and the facts to tell."""

    changeset: tuple[Change, ...] = ()
    facts: tuple[Fact, ...] = ()


class Distractor(Record):
    """A tool of another domain, by reference: its calls run in that environment and never touch the task's."""

    tool: str
    environment_id: str


class Expert(Record):
    """Another model as a tool, as one rollout sees it, by default under a name that says nothing: `expert_a`."""

    name: str
    profile: str
    """Which expert of the campaign stands behind the name. Not shown to the policy where the name is another."""
    capability: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    simulated: bool
    """Whether it is a declared competence instead of a model; whatever is reported of it has to say so."""


class Toolbox(Record):
    """What one rollout may use and what it costs. Sampled per task: prices are to be read, not learnt."""

    tools: tuple[str, ...]
    call_prices_usd: dict[str, float]
    """Price of one call, per tool and distractor."""
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    distractors: tuple[Distractor, ...] = ()
    experts: tuple[Expert, ...] = ()
    """Paid per token."""


class Preference(Record):
    """How the user wants it done: a sentence, and the vector P of the reward (arXiv 2511.21689), weights >= 0."""

    text: str = ""
    accuracy: float = 1.0
    cost: float = 0.0
    latency: float = 0.0
    tools: dict[str, float] = Field(default_factory=dict)
    held_out: bool = False
    """Whether its words are kept from training."""


class Scenario(Record):
    """A user who does not say everything at once: the request leaves out what is in `known`, to be asked for."""

    persona: str
    """How the user talks, such as `an impatient customer who answers in few words`."""
    known: dict[str, str] = Field(default_factory=dict)
    """What the user tells when asked: by the name of the thing, as the user says it."""
    unknown: tuple[str, ...] = ()
    """Names of things that the user cannot tell; they are found with tools."""


class Task(Shown, Record):
    """A request in one environment, with the program that fulfills it and the goal it is judged by.

    `instruction` is the user's request, `golden` the tool calls that solve it, `goal` the changes and facts that a
    verdict compares. `environment_id` names the EnvironmentSpec it belongs to, and `id` (32 hex digits) is the hash of
    its content.

        verdict = environment.judge(task, task.golden, task.golden_answer)  # solved, for every proven task
    """

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
    scenario: Scenario | None = None
    evolution: str = ""
    """The kind of evolution that made this task of a simpler one, such as `distractor`; empty if none did."""
    evolved_from: str | None = None
    """Id of the simpler task."""
    made_from: tuple[str, ...] = ()
    """Ids of the LLM calls whose words are in the instruction."""

    @property
    def said(self) -> str:
        """All that the user says: the instruction, and what a scenario's user tells when asked."""
        return "\n".join([self.instruction, *(self.scenario.known.values() if self.scenario else ())])

    def __repr__(self) -> str:
        return one_line("Task", short_id(self), self.domain, count(len(self.golden), "call"), self.instruction)

    def _repr_html_(self) -> str:
        calls = [(f"call {number}", f"{call.tool} {call.arguments}") for number, call in enumerate(self.golden, 1)]
        changes = [("change", f"{each.operation} {each.table} {each.key}") for each in self.goal.changeset]
        facts = [("fact", f"{fact.label}: {fact.value}") for fact in self.goal.facts]
        about = [("domain", self.domain), ("instruction", self.instruction), ("preference", self.preference.text)]
        return table(repr(self), ("", ""), [*about, *calls, *changes, *facts])


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
