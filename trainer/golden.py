"""Golden trajectories as training rows: what the warm start imitates, in exactly the form that rollouts have.

Results come from executing the golden program in the environment; what an expert is made to say is that program. No
torch.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    """A golden call did not execute: the task was never proven in this environment."""


@dataclass(frozen=True)
class Equipped:
    """What a golden trajectory has to work with."""

    toolbox: Toolbox
    asked: Expert | None = None
    """The expert that is asked what to do before anything else."""
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
    An expert that is asked says rightly what to do. By default there is the task's own toolbox, and nobody is asked.
    """
    dialect, may_ask = conversation.dialect, task.scenario is not None
    results = environment.replay(task.golden).results
    equipped = equipped or Equipped(task.toolbox)
    prompt = dialect.prompt(environment.spec, equipped.toolbox, equipped.others, may_ask=may_ask)
    token_ids = conversation.opening(
        prompt.system, user_message(task), tools=prompt.tools, clock=environment.spec.clock
    )
    trained = [False] * len(token_ids)

    def say(turn: ParsedTurn) -> list[int]:
        completion = conversation.completion(dialect.write(turn, may_ask=may_ask))
        token_ids.extend(completion)
        trained.extend([True] * len(completion))
        return completion

    def hear(bridge: Sequence[int]) -> None:
        token_ids.extend(bridge)
        trained.extend([False] * len(bridge))

    if task.scenario is not None and task.scenario.known:
        question = golden_question(task.scenario)
        asked = say(ParsedTurn(message=question))
        hear(conversation.bridge(asked, scripted_reply(task.scenario, question).text, "user"))
    if equipped.asked:
        asked = say(ParsedTurn(calls=(ToolCall(tool=equipped.asked.name, arguments={QUESTION: task.said}),)))
        calls = next_calls(task, environment, ())
        advice = render_advice(Advice(calls=calls) if calls else Advice(answer=task.golden_answer))
        hear(conversation.bridge(asked, dialect.results([ToolResult(ok=True, value=advice)], result_limit_chars, [0])))
    for call, result in zip(task.golden, results, strict=True):
        if not result.ok:
            raise GoldenFailed(f"task {task.id}: golden call {call.tool} fails: {result.error}. Prove the task again.")
        called = say(ParsedTurn(calls=(call,)))
        hear(conversation.bridge(called, dialect.results([result], result_limit_chars)))
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
