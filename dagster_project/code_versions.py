"""Code versions: per asset the hash of exactly the definitions and prompts that its data are made by.

A change of a comment, of a function's docstring or of another asset's prompt changes no version.
"""

import hashlib
from functools import cache

from dagster_project.home import REPOSITORY
from dagster_project.sources import Sources
from generators.brief import DomainError
from generators.discovery import domain_folder, domain_names
from generators.hook_files import python_of_domains

ENGINE = (
    "trainer.fanout.fan_out",
    "trainer.merge.merged_model",
    "serving.flags.vllm_arguments",
    "serving.flags.vllm_environment",
)
MADE_BY = {
    "brief": ("generators.brief.load_brief",),
    "environment": ("generators.domain.synthesise", "envs.environment.Environment"),
    "candidate_tasks": ("generators.candidates.propose_candidates",),
    "proven_tasks": (
        "envs.proof.prove_all.prove_all",
        "generators.decontamination.read_held_out",
        "generators.diversity.diversity",
    ),
    "task_dataset": (
        "generators.dataset.compose",
        "generators.decontamination.read_held_out",
        "generators.diversity.diversity_by_domain",
    ),
    "base_policy": ("serving.models.resolve_model",),
    "warm_policy": ("trainer.warm_start.imitate", "trainer.result.seal_result"),
    "difficulty": ("dagster_project.measuring.measure", *ENGINE),
    "baseline": ("dagster_project.evaluating.evaluate", "dagster_project.evaluating.evaluate_rules", *ENGINE),
    "rollouts": (
        "dagster_project.evaluating.collect_into",
        "trainer.difficulty.sampling_weights",
        "trainer.redraw.roll_out_until_signal",
        *ENGINE,
    ),
    "checkpoint": ("trainer.scoring.score", "trainer.update.learn", "trainer.result.seal_result"),
    "evaluation": ("dagster_project.evaluating.evaluate", *ENGINE),
}
"""Per asset what makes its data: its own function resolves inputs, records and shows, and is not counted."""


def code_version(asset: str) -> str:
    """The code version of one of our assets, as this repository stands.

    That of `brief` also changes with the page and the Python of any domain: made again, the brief of a domain that has
    not changed has the same data version, and nothing after it is stale.
    """
    version = _here().version(*MADE_BY[asset])
    return f"{version}-{_pages_of_domains()}-{python_of_domains()}" if asset == "brief" else version


@cache
def _here() -> Sources:
    return Sources(REPOSITORY)


def _pages_of_domains() -> str:
    """The hash of the pages of all domains; what is wrong with one is told to whoever asks for it."""
    total = hashlib.sha256()
    for domain in domain_names():
        try:
            page = (domain_folder(domain) / "domain.yaml").read_bytes()
        except (DomainError, OSError) as error:
            page = str(error).encode()
        total.update(f"{domain}:{len(page)}:".encode() + page)
    return total.hexdigest()[:16]
