"""Trainer: rollouts become rewards, advantages, an update and a checkpoint; and evaluation."""

from typing import TYPE_CHECKING

from envs.front_door import open_door

__all__ = [
    "Assignment",
    "Collection",
    "Rollout",
    "RolloutConfig",
    "UpdateJob",
    "advantages_of",
    "collect",
    "collect_sync",
    "measures_of",
    "score_group",
    "update",
]

if TYPE_CHECKING:
    from trainer.advantages import advantages_of
    from trainer.collect import Collection, collect, collect_sync
    from trainer.jobs import UpdateJob
    from trainer.player import Assignment
    from trainer.rewards import measures_of, score_group
    from trainer.rollout import Rollout
    from trainer.settings import RolloutConfig
    from trainer.update import update
else:
    __getattr__, __dir__ = open_door(
        __name__,
        {
            "Assignment": "trainer.player",
            "Collection": "trainer.collect",
            "Rollout": "trainer.rollout",
            "RolloutConfig": "trainer.settings",
            "UpdateJob": "trainer.jobs",
            "advantages_of": "trainer.advantages",
            "collect": "trainer.collect",
            "collect_sync": "trainer.collect",
            "measures_of": "trainer.rewards",
            "score_group": "trainer.rewards",
            "update": "trainer.update",
        },
        extra="train",
    )
