"""Collections on two Ray workers of a local cluster, one of them killed in the middle, beside the same in one process.

About ten seconds a test: each starts a cluster of its own, as a campaign does.
"""

import os
import signal
from collections.abc import Callable, Set
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from dagster_project import stored
from envs.environment import Environment
from envs.task import Task
from serving.endpoint import Completion, CompletionRequest
from serving.errors import EndpointError
from tests.trainer.conftest import Script, ScriptedPolicy
from trainer.collect import Assignment, Collection, planned
from trainer.conversation import Tokenizer
from trainer.fanout import Ended, WorkersLost, fan_out
from trainer.rollout import Rollout
from trainer.settings import RolloutConfig, WorkersConfig
from warehouse.rollout_sink import PartSink
from warehouse.warehouse import Warehouse

pytest.importorskip("ray")
TWO_ON_RAY = RolloutConfig(samples_per_task=4, concurrency=2, workers=WorkersConfig(kind="ray", count=2))


@dataclass(frozen=True)
class Counting:
    """A sink that also counts, per rollout, how often it was kept."""

    sink: PartSink
    folder: Path

    def keep(self, rollout: Rollout) -> None:
        self.sink.keep(rollout)
        with (self.folder / rollout.id).open("a") as file:
            file.write("kept\n")

    def kept(self) -> Set[str]:
        return self.sink.kept()

    def often(self) -> dict[str, int]:
        return {file.name: len(file.read_text().splitlines()) for file in self.folder.iterdir()}


class Mortal(ScriptedPolicy):
    """Plays well, and after so many completions kills its process; with a grave, only the first to get there."""

    def __init__(self, tokenizer: Tokenizer, script: Script, after: int, grave: Path | None = None) -> None:
        super().__init__(tokenizer, script)
        self.after, self.grave = after, grave

    async def complete(self, request: CompletionRequest) -> Completion:
        if len(self.prompts) == self.after and self._dies():
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().complete(request)

    def _dies(self) -> bool:
        if self.grave is None:
            return True
        try:
            self.grave.mkdir()
        except FileExistsError:
            return False
        return True


class Refusing(ScriptedPolicy):
    async def complete(self, _request: CompletionRequest) -> Completion:
        raise EndpointError("the engine refuses")


def _opened(policy: type[ScriptedPolicy], *options: object) -> nullcontext[ScriptedPolicy]:
    return nullcontext(policy(*options))


def sink_in(folder: Path) -> Counting:
    (folder / "counts").mkdir(parents=True)
    return Counting(PartSink(Warehouse(folder / "warehouse.duckdb", folder / "parts"), "test", 0), folder / "counts")


@pytest.fixture
def play(
    shop: Environment, tasks: list[Task], tokenizer: Tokenizer, assignment: Assignment, golden_script: Script
) -> Callable[..., list[Ended]]:
    def run(policy: type[ScriptedPolicy], sink: Counting, *options, config: RolloutConfig = TWO_ON_RAY) -> list[Ended]:
        heard: list[Ended] = []
        collection = Collection(tasks, {shop.id: shop}, assignment, config)
        opened = partial(_opened, policy, tokenizer, golden_script, *options)
        fan_out(collection, [opened], tokenizer, sink, heard.append)
        return heard

    return run


def without_clocks(rollouts: list[Rollout]) -> list[dict[str, object]]:
    clocks = {"turns": {"__all__": {"latency_s": True, "charges": {"__all__": {"latency_s"}}}}}
    return [rollout.model_dump(mode="json", exclude=clocks) for rollout in rollouts]


def test_a_killed_worker_is_replaced_and_nothing_is_lost_or_doubled(
    play, tasks: list[Task], assignment: Assignment, tmp_path: Path
) -> None:
    here, there = sink_in(tmp_path / "here"), sink_in(tmp_path / "there")
    grave = tmp_path / "grave"
    heard = play(Mortal, there, 20, grave)
    assert grave.exists(), "no worker was killed"
    in_process = TWO_ON_RAY.model_copy(update={"workers": WorkersConfig()})
    play(ScriptedPolicy, here, config=in_process)

    plan = sorted(planned(tasks, assignment, in_process))
    assert here.kept() == there.kept() == set(plan)
    assert set(there.often().values()) == {1}, "a rollout that had a part was played again"
    assert len({word.rollout_id for word in heard}) == len(heard) and {word.rollout_id for word in heard} <= set(plan)
    mine, theirs = (stored.rollouts_by_id(sink.sink.warehouse, plan) for sink in (here, there))
    assert without_clocks(mine) == without_clocks(theirs)


def test_workers_that_only_die_end_the_collection(play, tmp_path: Path) -> None:
    with pytest.raises(WorkersLost, match="3 workers in a row died before they had finished a rollout"):
        play(Mortal, sink_in(tmp_path), 0)


def test_what_a_worker_raises_is_raised_as_itself(play, tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="the engine refuses"):
        play(Refusing, sink_in(tmp_path))
