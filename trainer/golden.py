"""Golden trajectories as training rows: what the warm start imitates, in exactly the form that rollouts have.

Results come from executing the golden program in the environment; what an expert is made to say is that program. No
torch.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from random import Random

from envs.environment import Environment
from envs.experts import QUESTION, Advice, next_calls
from envs.record import derive_seed
from envs.spec import EnvironmentSpec
from envs.task import Expert, Scenario, Task, Toolbox, ToolCall
from envs.toolbox import ToolboxConfig, sample_toolbox
from envs.tools import ToolResult
from envs.users import scripted_reply
from trainer.conversation import Conversation
from trainer.dialect import ParsedTurn, render_advice, user_message
from trainer.rows import TrainingRow


class GoldenFailed(RuntimeError):
    """A golden call that did not execute, as the task was never proven here, or that the model cannot write."""


@dataclass(frozen=True)
class Equipped:
    """What a golden trajectory has to work with."""

    toolbox: Toolbox
    asked: Expert | None = None
    """The expert that is asked at every step what to do next, until it says the answer."""
    others: Mapping[str, EnvironmentSpec] = field(default_factory=dict)
    """The environments of distractors, by id."""


class Equipment:
    """Toolboxes of golden trajectories, drawn as those of rollouts are; how often an expert is asked, and which.

    Experts that are there and are not asked belong to it: a policy that has seen them only when they were asked asks
    always. The trajectories of one task have one toolbox and differ in whom they ask.
    """

    def __init__(
        self,
        config: ToolboxConfig,
        expert_rate: float,
        seed: int,
        specs: Iterable[EnvironmentSpec],
        examples_per_task: int = 1,
    ) -> None:
        """`specs` are the environments of all tasks. Raises ValueError where there is nobody to ask."""
        if expert_rate and not config.experts:
            raise ValueError(
                "warm_start.expert_rate: nobody to ask; set rollouts.toolbox.experts and pool, or leave it out."
            )
        self._config, self._rate, self._seed, self._per_task = config, expert_rate, seed, examples_per_task
        self._specs = {spec.id: spec for spec in specs}

    def of(self, task: Task, environment: Environment) -> list[Equipped]:
        """For each of the task's trajectories; the same for the same task. Raises envs.toolbox.ToolboxUnavailable.

        As near to the rate as whole numbers allow ask, each of them another expert while there are others.
        """
        rng = Random(derive_seed("equipment", self._seed, task.id))
        others = [spec for spec in self._specs.values() if spec.domain != environment.spec.domain]
        toolbox = sample_toolbox(task, environment.spec, self._config, others, rng)
        start = rng.random()
        # spread evenly from a random start, each asks with the probability of the rate, and of k of them k · rate do
        asking = [(start + place / self._per_task) % 1 < self._rate for place in range(self._per_task)]
        experts = cycle(rng.sample(toolbox.experts, len(toolbox.experts))) if any(asking) else iter(())
        return [Equipped(toolbox, next(experts) if asks else None, self._specs) for asks in asking]


def golden_row(
    task: Task,
    environment: Environment,
    conversation: Conversation,
    result_limit_chars: int,
    equipped: Equipped | None = None,
    part: int = 0,
) -> TrainingRow:
    """One call a turn, each followed by its real result, then the golden answer. Raises GoldenFailed.

    Where the request leaves things out, the user is asked for them first: nothing is taught that could not be known.
    An expert that is asked says rightly what to do; that is done to the letter, and it is asked again with the results.
    By default there is the task's own toolbox, and nobody is asked.
    """
    dialect, may_ask = conversation.dialect, task.scenario is not None
    made = list(zip(task.golden, environment.replay(task.golden).results, strict=True))
    failing = next(((call, result) for call, result in made if not result.ok), None)
    if failing:
        raise GoldenFailed(
            f"task {task.id}: golden call {failing[0].tool} fails: {failing[1].error}. Prove the task again."
        )
    equipped = equipped or Equipped(task.toolbox)
    prompt = dialect.prompt(environment.spec, equipped.toolbox, equipped.others, may_ask=may_ask)
    token_ids = conversation.opening(
        prompt.system, user_message(task), tools=prompt.tools, clock=environment.spec.clock
    )
    trained = [False] * len(token_ids)

    def say(turn: ParsedTurn) -> list[int]:
        completion = _completion(task, turn, conversation)
        token_ids.extend(completion)
        trained.extend([True] * len(completion))
        return completion

    def hear(bridge: Sequence[int]) -> None:
        token_ids.extend(bridge)
        trained.extend([False] * len(bridge))

    def consult(expert: Expert, advice: Advice) -> None:
        asked = say(ParsedTurn(calls=(ToolCall(tool=expert.name, arguments={QUESTION: task.said}),)))
        told = [ToolResult(ok=True, value=render_advice(advice))]
        hear(conversation.bridge(asked, dialect.results(told, result_limit_chars, [0])))

    if task.scenario is not None and task.scenario.known:
        question = golden_question(task.scenario)
        asked = say(ParsedTurn(message=question))
        hear(conversation.bridge(asked, scripted_reply(task.scenario, question).text, "user"))
    for step in _steps(task, environment, made) if equipped.asked else [[each] for each in made]:
        calls = tuple(call for call, _ in step)
        if equipped.asked:
            consult(equipped.asked, Advice(calls=calls))
        called = say(ParsedTurn(calls=calls))
        hear(conversation.bridge(called, dialect.results([result for _, result in step], result_limit_chars)))
    if equipped.asked:
        consult(equipped.asked, Advice(answer=task.golden_answer))
    say(ParsedTurn(answer=task.golden_answer or "Done."))
    return TrainingRow(
        rollout_id=task.id,
        group_id=task.environment_id,
        part=part,
        token_ids=tuple(token_ids),
        trained=tuple(trained),
        behaviour=(0.0,) * len(token_ids),
        advantage=1.0,
    )


def _completion(task: Task, turn: ParsedTurn, conversation: Conversation) -> list[int]:
    """The tokens of a turn. Raises GoldenFailed if its calls would be read differently."""
    dialect, may_ask = conversation.dialect, task.scenario is not None
    completion = conversation.completion(dialect.write(turn, may_ask=may_ask))
    if dialect.read(conversation.text(completion), may_ask=may_ask).calls != turn.calls:
        # Some vocabularies lack the bytes of rare characters.
        called = ", ".join(call.tool for call in turn.calls)
        raise GoldenFailed(
            f"task {task.id}: the model's tokens cannot write the arguments of {called or 'the answer'} as they are. "
            "Leave the task out, or change the rare characters in its rows."
        )
    return completion


def _steps(
    task: Task, environment: Environment, made: Sequence[tuple[ToolCall, ToolResult]]
) -> Iterator[Sequence[tuple[ToolCall, ToolResult]]]:
    """The golden calls in the portions in which an expert advises them."""
    done = 0
    while calls := next_calls(task, environment, [(call, result.value) for call, result in made[:done]]):
        yield made[done : done + len(calls)]
        done += len(calls)


def golden_question(scenario: Scenario) -> str:
    """Asks the user for everything that the request leaves out."""
    return f"What is the {', the '.join(scenario.known)}?"


def golden_rows(
    tasks: Iterable[Task],
    environments: Mapping[str, Environment],
    conversation: Conversation,
    result_limit_chars: int,
    equipment: Equipment | None = None,
) -> list[TrainingRow]:
    """Rows of all tasks, sorted by task id; `part` counts a task's. `environments` is by id.

    Raises KeyError for an environment it lacks.
    """
    rows = []
    for task in sorted(tasks, key=lambda task: task.id):
        environment = environments[task.environment_id]
        for part, equipped in enumerate(equipment.of(task, environment) if equipment is not None else [None]):
            rows.append(golden_row(task, environment, conversation, result_limit_chars, equipped, part))
    return rows
