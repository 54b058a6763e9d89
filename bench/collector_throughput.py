"""Tokens per second of a collection beside those of its engine alone, and with tools that take their time.

Every completion is asked of a real vLLM server and costs it what it costs; what is acted on are a scripted policy's
tokens of the same number, so that a small model's episodes have tools in all their turns. Raw means the very requests
of the collection (prompts, lengths, seeds) through the same client, as many at once, with nothing between them. One
collection goes first, unmeasured: after it every prompt is in the engine's prefix cache for both sides. That is the
hard case, since the engine has nothing left to do but decode.
Run: `python bench/collector_throughput.py [--quick] [--base-url URL --model NAME]`.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Figure, tell
from bench.scripted import ROOT, ScriptedPolicy, desk_collection, tokenizer
from dagster_project.stored import rollout_tables
from envs.task import ToolCall
from envs.tools import ToolResult
from serving.client import Client
from serving.endpoint import Completion, CompletionRequest, Endpoint
from serving.models import resolve_model
from serving.vllm import VllmConfig, VllmServer
from trainer.calling import Caller
from trainer.collect import Collection, collect
from trainer.conversation import Tokenizer
from trainer.rollout import Charge, Rollout
from warehouse.warehouse import Warehouse

MODEL = "smollm2-135m-instruct"
GROUPS, SAMPLES = 3, 8
SLOTS = GROUPS * SAMPLES // 2
"""Requests at once. Twice as many episodes are in flight: while one waits for a tool, another has its turn."""
DELAYS_S = (0.0, 0.05, 0.5)


class Engine:
    """The client, `SLOTS` requests at a time, each for exactly as many tokens as it says."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(SLOTS)
        self.asked: list[CompletionRequest] = []
        """In order."""

    async def write(self, request: CompletionRequest) -> Completion:
        """Raises RuntimeError if the engine wrote another number of tokens."""
        self.asked.append(request)
        async with self._slots:
            written = await self._client.complete(request)
        if len(written.token_ids) != request.max_tokens:
            raise RuntimeError(f"asked for {request.max_tokens} tokens, got {len(written.token_ids)}: is it vLLM?")
        return written


class Acted:
    """The engine's time and the scripted policy's tokens."""

    def __init__(self, engine: Engine, script: ScriptedPolicy) -> None:
        self._engine, self._script = engine, script

    async def complete(self, request: CompletionRequest) -> Completion:
        said = await self._script.complete(request)
        exactly = {"max_tokens": len(said.token_ids), "stop_token_ids": (), "ignore_eos": True}
        await self._engine.write(request.model_copy(update=exactly))
        return said


@contextmanager
def slow_tools(delay_s: float) -> Iterator[None]:
    """Every call takes so much longer, while others go on."""

    class Slow(Caller):
        async def call(self, call: ToolCall) -> tuple[ToolResult, Charge]:
            await asyncio.sleep(delay_s)
            return await super().call(call)

    with patch("trainer.player.Caller", Slow if delay_s else Caller):
        yield


def collected(
    endpoint: Endpoint,
    collection: Collection,
    words: Tokenizer,
    script: ScriptedPolicy,
    on_rollout: Callable[[Rollout], None],
) -> tuple[float, list[CompletionRequest]]:
    """Tokens per second of a whole collection whose rollouts are durable at their end, and what it asked."""

    async def play() -> tuple[float, list[CompletionRequest]]:
        async with Client(endpoint) as client:
            engine = Engine(client)
            began = time.perf_counter()
            rollouts = await collect(collection, Acted(engine, script), words, on_rollout)
            elapsed = time.perf_counter() - began
        assert all(rollout.solved for rollout in rollouts)
        return sum(rollout.completion_tokens for rollout in rollouts) / elapsed, engine.asked

    return asyncio.run(play())


def raw(endpoint: Endpoint, requests: list[CompletionRequest]) -> float:
    """Tokens per second of the same requests alone."""

    async def ask() -> float:
        async with Client(endpoint) as client:
            engine = Engine(client)
            began = time.perf_counter()
            await asyncio.gather(*map(engine.write, requests))
            return sum(request.max_tokens for request in requests) / (time.perf_counter() - began)

    return asyncio.run(ask())


@contextmanager
def served() -> Iterator[Endpoint]:
    """A vLLM server of its own for the time of the benchmark."""
    model = resolve_model(MODEL, ROOT / ".envloom" / "models")
    with tempfile.TemporaryDirectory() as folder:
        config = VllmConfig(model=str(model.path), served_name=model.name, max_num_seqs=SLOTS)
        server = VllmServer(config, Path(folder) / "logs", Path(folder) / "state", idle_timeout_s=30)
        try:
            yield server.start()
        finally:
            server.stop()


@contextmanager
def found(base_url: str, model: str) -> Iterator[Endpoint]:
    """A server that runs already."""
    yield Endpoint(base_url=base_url, model=model)


def measure(endpoint: Endpoint, repeats: int) -> dict[str, list[float]]:
    """Tokens per second of `repeats` interleaved runs: raw, and collections by the delay of their tools."""
    words = tokenizer()
    collection = desk_collection(GROUPS, SAMPLES, concurrency=2 * SLOTS).served_as(endpoint.model)
    script = ScriptedPolicy(collection, words)
    speeds: dict[str, list[float]] = {"raw": [], **{str(delay): [] for delay in DELAYS_S}}
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "warehouse.duckdb", Path(folder) / "parts")

        def keep(rollout: Rollout) -> None:
            warehouse.write_bundle(f"{len(speeds['raw'])}-{time.time_ns()}", rollout_tables(rollout))

        _, requests = collected(endpoint, collection, words, script, keep)
        for _ in range(repeats):
            speeds["raw"].append(raw(endpoint, requests))
            for delay in DELAYS_S:
                with slow_tools(delay):
                    speed, _ = collected(endpoint, collection, words, script, keep)
                speeds[str(delay)].append(speed)
    return speeds


def main(
    quick: Annotated[bool, typer.Option(help="One run of each instead of three.")] = False,
    base_url: Annotated[str, typer.Option(help="A vLLM server that runs already, with /v1.")] = "",
    model: Annotated[str, typer.Option(help="What it calls its model.")] = MODEL,
) -> None:
    """Print the collector's share of its engine's throughput."""
    repeats = 1 if quick else 3
    with found(base_url, model) if base_url else served() as endpoint:
        speeds = measure(endpoint, repeats)
    share = {
        delay: statistics.median(ours / alone for ours, alone in zip(speeds[str(delay)], speeds["raw"], strict=True))
        for delay in DELAYS_S
    }
    tell(
        f"Collector beside its engine, {GROUPS * SAMPLES} episodes of {MODEL}, {SLOTS} requests at once",
        [
            Figure("collector_of_raw", share[0.0], "x raw tok/s", 0.9),
            Figure("collector_of_raw_tools_50ms", share[0.05], "x raw tok/s", 0.9),
            Figure("collector_of_raw_tools_500ms", share[0.5], "x raw tok/s", 0.0),
        ],
        f"median of {repeats}; raw {statistics.median(speeds['raw']):,.1f} tok/s; 500 ms is reported without "
        f"a target; {2 * SLOTS} episodes in flight",
    )


if __name__ == "__main__":
    typer.run(main)
