"""Errors whose message names the fault, where it is, and the remedy: people need no traceback of them."""

from dagster_project.campaign import CampaignError
from dagster_project.home import HeldOutMissing
from dagster_project.record import NotMaterialised
from dagster_project.training import NoAdapter, NothingToTrainOn
from generators.brief import DomainError
from generators.decontamination import HeldOutError
from generators.stage import StageFailed, SynthesistNotSet
from serving.errors import ServingError
from warehouse.errors import LakeMisconfigured, WarehouseError
from warehouse.queries.lookup import NotFound
from warehouse.soundness import Quarantined

WRONG_SETTINGS = (CampaignError, DomainError, HeldOutError, HeldOutMissing, LakeMisconfigured, SynthesistNotSet)
"""Of files and variables that a person wrote."""
_NOTHING_TO_WORK_ON = (NoAdapter, NotFound, NothingToTrainOn, NotMaterialised, Quarantined)
NAMED = (*WRONG_SETTINGS, *_NOTHING_TO_WORK_ON, ServingError, StageFailed, WarehouseError)


def is_named(class_name: str | None) -> bool:
    """Whether a class of this name is one of `NAMED` or of their subclasses."""
    return any(class_name in {error.__name__, *map(_name, _subclasses(error))} for error in NAMED)


def _name(kind: type[Exception]) -> str:
    return kind.__name__


def _subclasses(kind: type[Exception]) -> set[type[Exception]]:
    direct = set(kind.__subclasses__())
    return direct.union(*map(_subclasses, direct))
