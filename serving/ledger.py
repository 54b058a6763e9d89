"""The ledger: every synthesis call and its answer in one file, keyed by the hash of model and request.

It gives resume (nothing is asked twice), replay (nothing is asked at all; a miss is an error), batches (questions out
as a file, answers in), and a budget. Training rollouts do not pass here: they are not to be repeated.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

from serving.batch import BatchFile, write_batch
from serving.blocking import run_blocking
from serving.budget import Budget, Meter
from serving.client import Client
from serving.endpoint import ChatRequest, LlmCall, Message, ServedModel, call_id
from serving.errors import AnswersPending, EndpointError, PriceMissing, ReplayMiss
from serving.recording import export_extract, import_extract, read_header
from serving.store import CallStore

__all__ = ["ChatRequest", "Ledger", "LlmCall", "Message", "read_header"]

_POLL_S = 0.2  # between looks at whether another process has answered
_UNBOUNDED = Budget()
_OnDone = Callable[[LlmCall], None]


class Ledger:
    """Answers of one model, or of one per stage, from an SQLite file where it has them and else from the endpoint.

        ledger = Ledger(Path("calls.sqlite"), ServedModel("my-model", endpoint))
        calls = ledger.ask_many(requests)  # one LlmCall per request, in order; stored ones are not asked again

    `mode` is `live`, `replay` (a request that is not stored raises ReplayMiss) or `batch` (requests are written to a
    file, AnswersPending). `ask_many` blocks, and may be called where an event loop runs, as in a notebook.

    Safe with several threads and processes of one machine on the same file: while one asks a question, the others wait
    for its answer. A killed process leaves every answer it got; what it was waiting for is asked again.
    """

    def __init__(
        self,
        path: Path,
        model: str | ServedModel,
        mode: Literal["live", "replay", "batch"] = "live",
        *,
        stages: Mapping[str, str | ServedModel] | None = None,
        budget: Budget = _UNBOUNDED,
        concurrency: int = 32,
    ) -> None:
        """`model` answers every template that `stages` does not give to another model; a string is a fingerprint.

        Raises PriceMissing if `budget` bounds dollars and a model has no price.
        """
        self.path = path
        self.mode = mode
        self.default = _served(model)
        self.stages = {template: _served(each) for template, each in (stages or {}).items()}
        self.meter = Meter(budget)  # counts what this object asks
        self.used: set[str] = set()  # ids of the calls this object has answered with, stored ones too
        self._store = CallStore(path)
        for served in (self.default, *self.stages.values()):
            for former in served.former_fingerprints:
                self._store.rename_model(former, served.fingerprint)
        self._concurrency = concurrency
        for each in (self.default, *self.stages.values()):
            if budget.max_usd is not None and mode == "live" and each.price is None:
                raise PriceMissing(
                    f"The budget is {budget.max_usd} USD, but what {each.fingerprint} costs is not known. Set its "
                    "input_usd_per_mtok and output_usd_per_mtok (0 where it costs nothing)."
                )

    @classmethod
    def of_recording(cls, recording: Path, path: Path) -> "Ledger":
        """A ledger in file `path` that replays `recording`, each stage as its model. Raises LedgerConflict."""
        header = read_header(recording)
        ledger = cls(path, header["model"], "replay", stages=header.get("stages"))
        ledger.import_extract(recording)
        return ledger

    @property
    def model(self) -> str:
        """Fingerprint of the model that answers unless a stage has its own."""
        return self.default.fingerprint

    # -- asking ------------------------------------------------------------------------------------------------

    def ask_many(self, requests: Sequence[ChatRequest], on_done: _OnDone | None = None) -> list[LlmCall]:
        """Answer all requests, in their order; equal requests are asked once.

        Each answer is stored the moment it arrives, so an interrupted run continues where it was. `on_done` hears of
        every distinct call, stored ones first. When some requests fail, the others are stored before the first error
        is raised. Raises ReplayMiss, BudgetExceeded, EndpointFailing, EndpointError, or AnswersPending in batch mode.
        """
        wanted = {self._id(request): request for request in requests}
        known = self._stored(wanted)
        for call in known.values():
            if on_done is not None:
                on_done(call)
        missing = {identity: request for identity, request in wanted.items() if identity not in known}
        if missing:
            if self.mode == "replay":
                raise self._miss(list(missing.values()), len(wanted))
            if self.mode == "batch":
                raise AnswersPending(self._batches(missing))
            for call in run_blocking(self._ask_all(missing, on_done)):
                known[call.id] = call
        self.used.update(wanted)
        return [known[self._id(request)] for request in requests]

    def _stored(self, ids: Iterable[str]) -> dict[str, LlmCall]:
        """The stored calls among `ids`. Empty answers, as older ledgers kept them, are none outside a replay."""
        stored = {call.id: call for call in self.calls(ids)}
        empty = [call.id for call in stored.values() if not call.text.strip()] if self.mode != "replay" else []
        self._store.forget(empty)
        return {identity: call for identity, call in stored.items() if identity not in empty}

    def _id(self, request: ChatRequest) -> str:
        return call_id(self._model_for(request).fingerprint, request)

    def _model_for(self, request: ChatRequest) -> ServedModel:
        return self.stages.get(request.template, self.default)

    def _miss(self, missing: list[ChatRequest], wanted: int) -> ReplayMiss:
        first = missing[0]
        words = " ".join(first.messages[-1].content.split()[:12]) if first.messages else "(no message)"
        return ReplayMiss(
            f"{self.path}: {len(missing)} of {wanted} requests are not in the recording of "
            f"{self._model_for(first).fingerprint}. The first is of template {first.template} "
            f"({first.template_sha256[:12]}), seed {first.seed}: “{words} …”. Its prompt, schema or settings changed "
            "since the recording: record again in live mode, or restore them; if the recording was never imported, "
            "import it first."
        )

    def _batches(self, missing: dict[str, ChatRequest]) -> list[BatchFile]:
        """One file per model that is asked."""
        asked: dict[ServedModel, dict[str, ChatRequest]] = {}
        for identity, request in missing.items():
            self.meter.admit(request.template)
            asked.setdefault(self._model_for(request), {})[identity] = request
        folder = self.path.parent / "batches"
        return [write_batch(self._store, model, requests, folder) for model, requests in asked.items()]

    async def _ask_all(self, missing: dict[str, ChatRequest], on_done: _OnDone | None) -> list[LlmCall]:
        for request in missing.values():
            if self._model_for(request).endpoint is None:
                raise EndpointError(
                    f"{self.path}: {len(missing)} requests are not stored and no endpoint was given to ask "
                    f'{self._model_for(request).fingerprint}. Name one, or import a recording and use mode "replay".'
                )
        slots = asyncio.Semaphore(self._concurrency)
        gone: list[Exception] = []  # why nothing more should be asked
        clients: dict[ServedModel, Client] = {}

        async def answer(identity: str, request: ChatRequest) -> LlmCall:
            while True:
                async with slots:
                    if gone:
                        raise gone[0]
                    try:
                        if self._store.claim(identity):
                            answered = [await self._ask(clients[self._model_for(request)], identity, request)]
                        else:
                            answered = self.calls([identity])
                        for call in answered:
                            if on_done is not None:
                                on_done(call)
                            return call
                    except Exception as error:
                        if type(error) is not EndpointError:  # that one is about this request, all else about the run
                            gone.append(error)
                        raise
                await asyncio.sleep(_POLL_S)  # another process is asking

        async with AsyncExitStack() as opened:
            for model in {self._model_for(request) for request in missing.values()}:
                client = Client(model.reached(), **model.waits.model_dump())
                clients[model] = await opened.enter_async_context(client)
            asking = (answer(identity, request) for identity, request in missing.items())
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
        for outcome in (*gone, *outcomes):
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in outcomes if isinstance(outcome, LlmCall)]

    async def _ask(self, client: Client, identity: str, request: ChatRequest) -> LlmCall:
        """Ask what this process has claimed, and store the answer or give the claim up."""
        model, url = self._model_for(request), client.endpoint.base_url
        try:
            self.meter.admit(request.template)
            answered = await client.chat(request)
            call = LlmCall(model=model.fingerprint, request=request, price=model.price, **answered.model_dump())
            self.meter.answered(url, call)
            return self._store.add([call])[0]
        except EndpointError as error:
            self.meter.failed(url, error)
            raise
        finally:
            self._store.release(identity)

    # -- what is stored ----------------------------------------------------------------------------------------

    def calls(self, ids: Iterable[str]) -> list[LlmCall]:
        """The stored calls among `ids`, sorted by id."""
        return self._store.calls(ids)

    def export_extract(self, path: Path, call_ids: Iterable[str], header: dict[str, Any]) -> None:
        """See `serving.recording`. `header` should say "model", "engine" and "recorded"; which stages had a model of
        their own is added."""
        told = {template: model.fingerprint for template, model in self.stages.items()}
        export_extract(self._store, path, call_ids, {**header, **({"stages": told} if told else {})})

    def import_extract(self, path: Path) -> dict[str, Any]:
        """See `serving.recording`."""
        return import_extract(self._store, path)


def _served(model: str | ServedModel) -> ServedModel:
    return ServedModel(model) if isinstance(model, str) else model
