"""Golden trajectories as training rows: what the warm start imitates, in exactly the form that rollouts have.

Results come from executing the golden program in the environment; nothing is invented here. No torch.
"""

from collections.abc import Iterable, Mapping

from envs.environment import Environment
from envs.task import Scenario, Task
from envs.users import scripted_reply
from trainer.conversation import Conversation
from trainer.dialect import render_answer, render_call, render_message, render_results, system_prompt, user_message
from trainer.rows import TrainingRow


class GoldenFailed(RuntimeError):
    """A golden call did not execute: the task was never proven in this environment."""


def golden_row(
    task: Task, environment: Environment, conversation: Conversation, result_limit_chars: int
) -> TrainingRow:
    """One call a turn, each followed by its real result, then the golden answer. Raises GoldenFailed.

    Where the request leaves things out, the user is asked for them first: nothing is taught that could not be known.
    """
    results = environment.replay(task.golden).results
    system = system_prompt(environment.spec, task.toolbox, may_ask=task.scenario is not None)
    prompt = conversation.opening(system, user_message(task))
    token_ids, trained = list(prompt), [False] * len(prompt)
    if task.scenario is not None and task.scenario.known:
        question = golden_question(task.scenario)
        completion = conversation.completion(render_message(question))
        bridge = conversation.bridge(completion, scripted_reply(task.scenario, question).text, "user")
        token_ids += [*completion, *bridge]
        trained += [True] * len(completion) + [False] * len(bridge)
    for call, result in zip(task.golden, results, strict=True):
        if not result.ok:
            raise GoldenFailed(f"task {task.id}: golden call {call.tool} fails: {result.error}. Prove the task again.")
        completion = conversation.completion(render_call(call))
        bridge = conversation.bridge(completion, render_results([result], result_limit_chars))
        token_ids += [*completion, *bridge]
        trained += [True] * len(completion) + [False] * len(bridge)
    answer = conversation.completion(render_answer(task.golden_answer or "Done."))
    token_ids += answer
    trained += [True] * len(answer)
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
) -> list[TrainingRow]:
    """Rows of all tasks, sorted by task id. `environments` is by id. Raises KeyError for an environment it lacks."""
    ordered = sorted(tasks, key=lambda task: task.id)
    return [golden_row(task, environments[task.environment_id], conversation, result_limit_chars) for task in ordered]
