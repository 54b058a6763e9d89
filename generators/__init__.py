"""Generators: a brief becomes an environment and candidate tasks. LLM stages, prompts, domains."""

from typing import TYPE_CHECKING

from envs.front_door import open_door

__all__ = ["Brief", "Hooks", "load_brief", "propose_candidates", "synthesise"]

if TYPE_CHECKING:
    from generators.brief import Brief, load_brief
    from generators.candidates import propose_candidates
    from generators.domain import synthesise
    from generators.hooks import Hooks
else:
    __getattr__, __dir__ = open_door(
        __name__,
        {
            "Brief": "generators.brief",
            "Hooks": "generators.hooks",
            "load_brief": "generators.brief",
            "propose_candidates": "generators.candidates",
            "synthesise": "generators.domain",
        },
        extra="generate",
    )
