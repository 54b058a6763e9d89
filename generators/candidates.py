"""From environment to candidate tasks: words, programs, evolution, the domain's own tasks, paraphrases."""

from dataclasses import dataclass

from envs.environment import Environment
from envs.task import Rejection, Task
from generators.brief import Brief
from generators.documents import document_tasks
from generators.hooked import DomainHooks
from generators.own_tasks import own_tasks
from generators.paraphrases import paraphrase
from generators.stage import Llm
from generators.tasks import propose_tasks
from generators.wording import Wording, propose_wording


@dataclass(frozen=True)
class Candidates:
    """Candidate tasks with the words they were made of, and everything that was refused on the way to them."""

    tasks: tuple[Task, ...]
    wording: Wording
    rejections: tuple[Rejection, ...]
    drafted: tuple[str, ...] = ()
    """Ids of the tasks that the domain's own Python drafted."""


def propose_candidates(brief: Brief, environment: Environment, llm: Llm, hooks: DomainHooks) -> Candidates:
    """Candidate tasks of an environment, about `brief.sizes.tasks` of them. They are executable, and not yet proven.

    `brief` is the page the environment was made from, `llm` answers the requests for wording (a `serving.Ledger`) and
    `hooks` holds the domain's own Python (`DomainHooks()` for none). Same brief, environment and answers: same tasks.
    Raises StageFailed where no answer of a stage can be used, and HookError.
    """
    if brief.kind == "documents":
        wording, sampled, refused_words = document_tasks(brief, environment, llm, brief.sizes.tasks)
        told, refused_paraphrases = sampled.tasks, list[Rejection]()
    else:
        wording, refused_words = propose_wording(environment.spec, llm, brief.answers_seed)
        sampled = propose_tasks(environment, wording, brief.sizes.tasks, brief.seed)
        told, refused_paraphrases = paraphrase(
            environment, wording, sampled.tasks, brief.sizes.paraphrases, llm, brief.answers_seed
        )
    own = own_tasks(hooks, environment, wording, brief.sizes.tasks)
    rejections = (*refused_words, *sampled.rejections, *refused_paraphrases, *own.rejections)
    return Candidates((*told, *own.tasks), wording, rejections, tuple(task.id for task in own.tasks))
