"""Golden trajectories as training rows: what the warm start imitates, in exactly the form that rollouts have.

Results come from executing the golden program in the environment; what an expert is made to say is that program. No
torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from envs.environment import Environment
from envs.experts import QUESTION, Advice, next_calls
from envs.record import derive_seed
from envs.task import Expert, Scenario, Task, ToolCall
from envs.toolbox import ToolboxConfig, sample_toolbox
from envs.tools import ToolResult
from envs.users import scripted_reply
from trainer.conversation import Conversation
from trainer.dialect import ParsedTurn, render_advice, user_message
from trainer.rows import TrainingRow


class GoldenFailed(RuntimeError):
    """A golden call did not execute: the task was never proven in this environment."""


@dataclass(frozen=True)
class Consulting:
    """How often a golden trajectory asks an expert before anything else, so that such calls have been seen."""

    rate: float
    toolbox: ToolboxConfig
    """Where the experts are drawn from."""
    seed: int

    def __post_init__(self) -> None:
        if self.rate and not self.toolbox.experts:
            raise ValueError(
                "warm_start.expert_rate: nobody to ask; set rollouts.toolbox.experts and pool, or leave it out."
            )

    def experts(self, task: Task, environment: Environment) -> tuple[Expert, ...]:
        """The experts of a task's trajectory, the one to be asked first; mostly none, as the rate says."""
        rng = Random(derive_seed("consulting", self.seed, task.id))
        if rng.random() >= self.rate:
            return ()
        alone = self.toolbox.model_copy(update={"distractors": 0})
        drawn = list(sample_toolbox(task, environment.spec, alone, (), rng).experts)
        rng.shuffle(drawn)
        return tuple(drawn)


def golden_row(
    task: Task,
    environment: Environment,
    conversation: Conversation,
    result_limit_chars: int,
    experts: Sequence[Expert] = (),
) -> TrainingRow:
    """One call a turn, each followed by its real result, then the golden answer. Raises GoldenFailed.

    Where the request leaves things out, the user is asked for them first: nothing is taught that could not be known.
    With `experts` the first of them is asked what to do, and says it rightly.
    """
    dialect, may_ask = conversation.dialect, task.scenario is not None
    results = environment.replay(task.golden).results
    toolbox = task.toolbox.model_copy(update={"experts": tuple(sorted(experts, key=lambda expert: expert.name))})
    prompt = dialect.prompt(environment.spec, toolbox, may_ask=may_ask)
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
    if experts:
        asked = say(ParsedTurn(calls=(ToolCall(tool=experts[0].name, arguments={QUESTION: task.said}),)))
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
    consulting: Consulting | None = None,
) -> list[TrainingRow]:
    """Rows of all tasks, sorted by task id. `environments` is by id. Raises KeyError for an environment it lacks."""
    rows = []
    for task in sorted(tasks, key=lambda task: task.id):
        environment = environments[task.environment_id]
        experts = consulting.experts(task, environment) if consulting is not None else ()
        rows.append(golden_row(task, environment, conversation, result_limit_chars, experts))
    return rows
