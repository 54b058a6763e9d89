"""What is to be made again, and where: from the process that was asked to the one that does it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dagster_project.home import Home
from dagster_project.reproduction.scratch import Inputs, Scratch

Mode = Literal["verify", "replay", "regenerate"]


@dataclass(frozen=True)
class Plan:
    """What is to be made again, and where."""

    scratch: Scratch
    mode: Mode
    inputs: Inputs
    engines: Path
    """The home whose servers are used."""
    batches: tuple[str, ...]
    """In order; ids of the recorded ones."""
    remade: frozenset[str]
    """Those of them that are made again; the others are taken over."""

    def write(self, path: Path) -> None:
        """As `read` reads it."""
        told = {
            "home": str(self.scratch.home.root),
            "recorded": str(self.scratch.recorded.root),
            "recorded_lake": self.scratch.recorded.lake_setting,
            "domains": str(self.scratch.domains),
            "mode": self.mode,
            "inputs": self.inputs,
            "engines": str(self.engines),
            "batches": self.batches,
            "remade": sorted(self.remade),
        }
        path.write_text(json.dumps(told))

    @classmethod
    def read(cls, path: Path) -> "Plan":
        told = json.loads(path.read_text())
        recorded = Home.at(told["recorded"], told["recorded_lake"])
        scratch = Scratch(Home(Path(told["home"])), recorded, Path(told["domains"]))
        batches, remade = tuple(told["batches"]), frozenset(told["remade"])
        return cls(scratch, told["mode"], told["inputs"], Path(told["engines"]), batches, remade)
