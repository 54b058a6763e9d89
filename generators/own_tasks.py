"""A domain's own tasks: drafts of its hooks, completed with goal, toolbox and preference to candidates like all others.

Nothing is believed of a draft but its words: its golden calls are executed, and the proof decides.
"""

import random

from envs.environment import Environment
from envs.record import derive_seed
from envs.task import Goal, Rejection, Task
from generators import preferences
from generators.hooked import DomainHooks
from generators.hooks import TaskDraft
from generators.programs import say
from generators.tasks import Proposal, toolbox_for
from generators.wording import Wording


def own_tasks(hooks: DomainHooks, environment: Environment, wording: Wording, count: int) -> Proposal:
    """At most `count` candidates from the domain's own drafts; repeated ones are returned as rejections.

    Raises HookError.
    """
    rng = random.Random(derive_seed(environment.spec.domain, "own tasks", environment.spec.seed))
    tasks: dict[tuple[str, str], Task] = {}
    rejections = []
    for draft in hooks.tasks(environment, count):
        key = (draft.instruction, str(draft.golden))
        if key in tasks:
            rejections.append(_repeated(draft, environment.spec.domain))
        else:
            tasks[key] = _completed(draft, environment, wording, rng)
    return Proposal(tuple(tasks.values()), tuple(rejections))


def _completed(draft: TaskDraft, environment: Environment, wording: Wording, rng: random.Random) -> Task:
    used = {call.tool for call in draft.golden}
    preference, worded_by = preferences.draw(rng, wording.texts, tuple(sorted(used)))
    told = " ".join(f"{fact.label}: {say(fact)}." for fact in draft.facts)
    return Task(
        environment_id=environment.id,
        domain=environment.spec.domain,
        instruction=draft.instruction,
        golden=draft.golden,
        golden_answer=draft.answer or told or "Done.",
        goal=Goal(changeset=environment.replay(draft.golden).changeset, facts=draft.facts),
        difficulty=len(draft.golden),
        toolbox=toolbox_for(environment, rng, used),
        preference=preference,
        made_from=(worded_by,) if worded_by else (),
    )


def _repeated(draft: TaskDraft, domain: str) -> Rejection:
    return Rejection(
        domain=domain,
        stage="hooks",
        reason="duplicate",
        detail=draft.instruction,
        subject=draft.canonical_fields(),
    )
