"""The ledger: every synthesis call and its answer in one SQLite file, keyed by the hash of model and request.

It gives resume (nothing is asked twice), replay (nothing is asked at all; a miss is an error), extracts that ship
recorded calls as text, and a budget. Training rollouts do not pass here: they are not to be repeated.
"""

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import rfc8785
from filelock import FileLock
from pydantic import ValidationError

from serving.client import Client
from serving.endpoint import ChatRequest, Endpoint, LlmCall, Message, call_id
from serving.errors import (
    BudgetExceeded,
    EndpointError,
    LedgerConflict,
    ReplayMiss,
)

__all__ = ["ChatRequest", "Ledger", "LlmCall", "Message", "read_header"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    template TEXT NOT NULL,
    template_sha256 TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,
    record TEXT NOT NULL -- canonical JSON of the whole call
) STRICT, WITHOUT ROWID
"""


class Ledger:
    """Answers of one model, from the file where it has them and from the endpoint where it has not.

    Safe with several threads and processes on the same file. `endpoint` may be a function that starts the server: it
    is called at the first question that is not stored, so a run that is all resume or replay starts none.
    """

    def __init__(
        self,
        path: Path,
        model: str,
        mode: Literal["live", "replay"] = "live",
        endpoint: Endpoint | Callable[[], Endpoint] | None = None,
        *,
        concurrency: int = 32,
        max_calls: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """`model` is the fingerprint; `max_calls` and `max_tokens` (prompt + answer) bound what this object asks."""
        self.path = path
        self.model = model
        self.mode = mode
        self.asked_calls = 0  # through this object, not counting stored answers
        self.asked_tokens = 0
        self._endpoint = endpoint
        self._concurrency = concurrency
        self._max_calls = max_calls
        self._max_tokens = max_tokens
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two first users at once: the change to WAL does not wait for locks as other statements do.
        with FileLock(f"{path}.lock"), self._connected() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(_SCHEMA)

    # -- asking ------------------------------------------------------------------------------------------------

    def ask_many(
        self, requests: Sequence[ChatRequest], on_done: Callable[[LlmCall], None] | None = None
    ) -> list[LlmCall]:
        """Answer all requests, in their order; equal requests are asked once.

        Each answer is stored the moment it arrives, so an interrupted run continues where it was. `on_done` hears of
        every distinct call, stored ones first. When some requests fail, the others are stored before the first error
        is raised. Raises ReplayMiss, BudgetExceeded or EndpointError.
        """
        wanted = {call_id(self.model, request): request for request in requests}
        known = {call.id: call for call in self.calls(wanted)}
        for call in known.values():
            if on_done is not None:
                on_done(call)
        missing = [request for identity, request in wanted.items() if identity not in known]
        if missing:
            self._refuse_in_replay(missing, len(wanted))
            for call in _run(self._ask_all(missing, on_done)):
                known[call.id] = call
        return [known[call_id(self.model, request)] for request in requests]

    def _refuse_in_replay(self, missing: list[ChatRequest], wanted: int) -> None:
        if self.mode == "replay":
            first = missing[0]
            words = " ".join(first.messages[-1].content.split()[:12]) if first.messages else "(no message)"
            raise ReplayMiss(
                f"{self.path}: {len(missing)} of {wanted} requests are not in the recording of {self.model}. The first "
                f"is of template {first.template} ({first.template_sha256[:12]}), seed {first.seed}: “{words} …”. "
                "Its prompt, schema or settings changed since the recording: record again in live mode, or restore "
                "them; if the recording was never imported, import it first."
            )
        if self._endpoint is None:
            raise EndpointError(
                f"{self.path}: {len(missing)} requests are not stored and no endpoint was given to ask. Name one, or "
                'import a recording and use mode "replay".'
            )

    async def _ask_all(self, requests: list[ChatRequest], on_done: Callable[[LlmCall], None] | None) -> list[LlmCall]:
        endpoint = self._endpoint() if callable(self._endpoint) else self._endpoint
        assert endpoint is not None  # checked by _refuse_in_replay
        slots = asyncio.Semaphore(self._concurrency)
        gone: list[Exception] = []  # why nothing more should be asked

        async def answer(client: Client, request: ChatRequest) -> LlmCall:
            async with slots:
                if gone:
                    raise gone[0]
                try:
                    self._charge(request)
                    answered = await client.chat(request)
                    self.asked_tokens += answered.prompt_tokens + answered.completion_tokens
                    stored = self._store([LlmCall(model=self.model, request=request, **answered.model_dump())])[0]
                    if on_done is not None:
                        on_done(stored)
                except Exception as error:
                    if type(error) is not EndpointError:  # that one is about this request, all else about the run
                        gone.append(error)
                    raise
            return stored

        async with Client(endpoint) as client:
            outcomes = await asyncio.gather(*(answer(client, each) for each in requests), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, LlmCall)]

    def _charge(self, request: ChatRequest) -> None:
        over_calls = self._max_calls is not None and self.asked_calls >= self._max_calls
        over_tokens = self._max_tokens is not None and self.asked_tokens >= self._max_tokens
        if over_calls or over_tokens:
            raise BudgetExceeded(
                f"{self.path}: the budget ({self._max_calls} calls, {self._max_tokens} tokens) is used up after "
                f"{self.asked_calls} calls and {self.asked_tokens} tokens, before a request of {request.template}. "
                "Everything answered is stored; run again with a larger budget to continue."
            )
        self.asked_calls += 1

    # -- storage -----------------------------------------------------------------------------------------------

    def calls(self, ids: Iterable[str]) -> list[LlmCall]:
        """The stored calls among `ids`, sorted by id."""
        with self._connected() as db:
            rows = db.execute(
                "SELECT record FROM calls WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
                (json.dumps(list(ids)),),
            )
            return [LlmCall.model_validate_json(record) for (record,) in rows]

    def _store(self, calls: Sequence[LlmCall]) -> list[LlmCall]:
        """Commit `calls` and return what the file then holds: of two processes answering at once, the first wins."""
        with self._connected() as db:
            db.executemany(
                "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [
                    (
                        call.id,
                        call.model,
                        call.request.template,
                        call.request.template_sha256,
                        call.prompt_tokens,
                        call.completion_tokens,
                        call.seconds,
                        _canonical(call),
                    )
                    for call in calls
                ],
            )
        held = {call.id: call for call in self.calls(call.id for call in calls)}
        return [held[call.id] for call in calls]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """One connection per use: connections are bound to a thread, and opening one costs a tenth of a millisecond."""
        db = sqlite3.connect(self.path, timeout=60)
        try:
            db.execute("PRAGMA synchronous = NORMAL")  # with WAL: safe against a killed process
            with db:
                yield db
        finally:
            db.close()

    # -- extracts ----------------------------------------------------------------------------------------------

    def export_extract(self, path: Path, call_ids: Iterable[str], header: dict[str, Any]) -> None:
        """Write the calls `call_ids` as JSON lines: `header` first, then one call a line, sorted by id.

        Equal calls give equal bytes. `header` should say "model", "engine" and "recorded". Raises LedgerConflict when
        a call is not stored.
        """
        wanted = set(call_ids)
        calls = self.calls(wanted)
        if absent := wanted - {call.id for call in calls}:
            raise LedgerConflict(f"{self.path} holds no call {min(absent)} (and {len(absent) - 1} more): ask it first.")
        lines = [rfc8785.dumps(header).decode(), *(_canonical(call) for call in calls)]
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
        unfinished.replace(path)

    def import_extract(self, path: Path) -> dict[str, Any]:
        """Store the calls of an extract, all or none, and return its header. Importing twice changes nothing.

        Raises LedgerConflict when a line is not a call, or when this file holds another answer to the same question:
        what was made from that answer would lose its origin.
        """
        header = read_header(path)
        calls = []
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1:
                    continue
                try:
                    calls.append(LlmCall.model_validate_json(line))
                except ValidationError as error:
                    raise LedgerConflict(f"{path}:{number} is no recorded call: {error}. Export it again.") from error
        held = {call.id: call for call in self.calls(call.id for call in calls)}
        for call in calls:
            if call.id in held and held[call.id].text != call.text:
                raise LedgerConflict(
                    f"{path}: call {call.id} ({call.request.template}) has another answer in {self.path}. "
                    "Replay into a ledger file of its own."
                )
        self._store(calls)
        return header


def read_header(path: Path) -> dict[str, Any]:
    """The first line of an extract: {"model": fingerprint, "engine": …, "recorded": …}. Raises LedgerConflict."""
    try:
        with path.open(encoding="utf-8") as lines:
            header = json.loads(lines.readline())
    except (OSError, ValueError) as error:
        raise LedgerConflict(
            f"{path} is no recording of calls: {error}. Export one with Ledger.export_extract."
        ) from error
    if not isinstance(header, dict) or "model" not in header:
        raise LedgerConflict(f'{path}: the first line must be an object with "model". Export it again.')
    return header


def _canonical(call: LlmCall) -> str:
    return rfc8785.dumps(call.model_dump(mode="json")).decode()


def _run(asking: Any) -> list[LlmCall]:
    """Run a coroutine to its end, also where this thread already runs a loop (a notebook, an async asset)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(asking)
    with ThreadPoolExecutor(max_workers=1) as other_thread:
        return other_thread.submit(asyncio.run, asking).result()
