"""Batches: questions out as an OpenAI batch file, answers in. Who answers is not known here: vLLM's `run_batch` on a
cluster, or a provider's batch service.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from serving.answers import chat_answer, error_words
from serving.bodies import chat_body
from serving.endpoint import ChatRequest, LlmCall, ServedModel
from serving.errors import EndpointError, LedgerConflict
from serving.store import CallStore, Question

URL = "/v1/chat/completions"


@dataclass(frozen=True)
class BatchFile:
    """A file of questions to one model, and what to do with it."""

    requests: Path
    answers: Path
    """Where the command puts the answers; any other place is as good."""
    model: str
    """Name of the model in the file."""
    count: int
    command: str
    """What answers it with vLLM; empty if nobody said."""
    refused_before: str = ""
    """Why one of the questions was refused when it was asked before."""

    def says(self) -> str:
        """For people: what waits where, how to answer it, how to go on."""
        lines = [f"{self.count} questions to {self.model} wait in {self.requests}."]
        if self.refused_before:
            lines.append(f"  Some were refused before: {self.refused_before}")
        lines += [
            f"  Answer them with vLLM:  {self.command}",
            "  or with a batch service that takes OpenAI batch files (endpoint /v1/chat/completions).",
            f"  Import the answers:     envloom answers import {self.answers}",
            "  and run the same command again: it goes on from there.",
        ]
        return "\n".join(lines)


def write_batch(store: CallStore, model: ServedModel, requests: Mapping[str, ChatRequest], folder: Path) -> BatchFile:
    """Write `requests` (by call id) to model as one file, named by what it asks, and remember them as pending.

    The custom id of a line is the call's id. The file is written from the requests at hand and not from their
    canonical form: engines that decode under a schema write its properties in the order in which it names them.
    """
    store.await_answers(
        Question(model=model.fingerprint, name=model.name, request=request, price=model.price)
        for request in requests.values()
    )
    name = sha256("".join(sorted(requests)).encode()).hexdigest()[:12]
    path = folder / f"batch-{name}.jsonl"
    lines = [
        {"custom_id": identity, "method": "POST", "url": URL, "body": _body(requests[identity], model)}
        for identity in sorted(requests)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")
    unfinished.replace(path)
    answers = path.with_suffix(".answers.jsonl")
    refused = store.refusals(requests)
    return BatchFile(
        requests=path,
        answers=answers,
        model=model.name,
        count=len(lines),
        command=model.batch_command.replace("{requests}", str(path)).replace("{answers}", str(answers)),
        refused_before=next(iter(refused.values()), ""),
    )


def _body(request: ChatRequest, model: ServedModel) -> dict[str, Any]:
    return chat_body(request, model.name, model.requests)


@dataclass
class Imported:
    """What an answer file brought."""

    stored: int = 0
    already_stored: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Call id → why there is no answer. It stays pending: the next run writes it into a batch again."""
    unknown: list[str] = field(default_factory=list)
    """Custom ids that this ledger did not ask for."""


class _Response(BaseModel):
    status_code: int | None = 200
    body: Any = None
    """An object, but for errors of services that write text there."""


class _AnswerLine(BaseModel):
    custom_id: str
    response: _Response | None = None
    error: Any = None


def import_answers(store: CallStore, path: Path) -> Imported:
    """Store the answers of a batch's output or error file, whatever their order; importing twice changes nothing.

    Raises LedgerConflict, with nothing stored, when a line is not a line of such a file: it may still be being written.
    """
    lines = _read(path)
    pending = store.pending()
    already = {call.id for call in store.calls(line.custom_id for line in lines)}
    found = Imported()
    calls = []
    for line in lines:
        if line.custom_id in already:
            found.already_stored += 1
        elif line.custom_id not in pending:
            found.unknown.append(line.custom_id)
        else:
            try:
                calls.append(_call(pending[line.custom_id], line))
            except EndpointError as error:
                found.refused[line.custom_id] = f"{pending[line.custom_id].request.template}: {error}"
    store.add(calls)
    store.refuse(found.refused)
    found.stored = len({call.id for call in calls})
    return found


def _read(path: Path) -> list[_AnswerLine]:
    try:
        texts = path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: answers hold other line separators
    except OSError as error:
        raise LedgerConflict(f"{path} cannot be read: {error.strerror}. Name the batch's answer file.") from error
    except UnicodeDecodeError as error:
        raise LedgerConflict(f"{path} is no text in UTF-8. Name the batch's answer file, unpacked.") from error
    lines = []
    for number, text in enumerate(texts, start=1):
        if text.strip():
            try:
                lines.append(_AnswerLine.model_validate(json.loads(text)))
            except (ValueError, RecursionError) as error:
                reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
                raise LedgerConflict(
                    f"{path}:{number} is no line of a batch's answers: {reason}. Name the output or error file of the "
                    "batch, complete."
                ) from error
    return lines


def _call(question: Question, line: _AnswerLine) -> LlmCall:
    body = line.response.body if line.response is not None else None
    if (
        line.error
        or not isinstance(body, dict)
        or line.response is None
        or line.response.status_code not in (200, None)
    ):
        raise EndpointError(_reason(line))
    answer = chat_answer(body, question.name or body.get("model", ""), seconds=0.0)
    return LlmCall(model=question.model, request=question.request, price=question.price, **answer.model_dump())


def _reason(line: _AnswerLine) -> str:
    """The words of an error, wherever a service puts them."""
    words = error_words(line.error or (line.response.body if line.response is not None else None))
    status = f" (status {line.response.status_code})" if line.response is not None else ""
    return f"{words or 'no answer'}{status}"
