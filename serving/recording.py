"""Recordings: calls of a ledger as text, to ship with a domain and to replay where no model is served."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from envs.record import canonical_json
from serving.endpoint import LlmCall
from serving.errors import LedgerConflict
from serving.store import CallStore


def export_extract(store: CallStore, path: Path, call_ids: Iterable[str], header: dict[str, Any]) -> None:
    """Write the calls `call_ids` as JSON lines: `header` first, then one call a line, sorted by id.

    Equal calls give equal bytes. Raises LedgerConflict when a call is not stored.
    """
    wanted = set(call_ids)
    calls = store.calls(wanted)
    if absent := wanted - {call.id for call in calls}:
        raise LedgerConflict(f"{store.path} holds no call {min(absent)} (and {len(absent) - 1} more): ask it first.")
    lines = [canonical_json(header), *(call.canonical() for call in calls)]
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_bytes(b"\n".join(lines) + b"\n")
    unfinished.replace(path)


def import_extract(store: CallStore, path: Path) -> dict[str, Any]:
    """Store the calls of a recording, all or none, and return its header. Importing twice changes nothing.

    Raises LedgerConflict when a line is not a call, or when the file holds another answer to the same question: what
    was made from that answer would lose its origin.
    """
    header = read_header(path)
    calls = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if number == 1:
                continue
            try:
                calls.append(LlmCall.model_validate_json(line))
            except ValidationError as error:
                raise LedgerConflict(f"{path}:{number} is no recorded call: {error}. Export it again.") from error
    held = {call.id: call for call in store.calls(call.id for call in calls)}
    for call in calls:
        if call.id in held and held[call.id].text != call.text:
            raise LedgerConflict(
                f"{path}: call {call.id} ({call.request.template}) has another answer in {store.path}. "
                "Replay into a ledger file of its own."
            )
    store.add(calls)
    return header


def read_header(path: Path) -> dict[str, Any]:
    """The first line of a recording: {"model": fingerprint, "engine": …, "recorded": …}. Raises LedgerConflict.

    "stages" names, by template, the models of stages that were not asked of "model".
    """
    try:
        with path.open(encoding="utf-8") as lines:
            header = json.loads(lines.readline())
    except (OSError, ValueError, RecursionError) as error:
        raise LedgerConflict(
            f"{path} is no recording of calls: {error}. Export one with Ledger.export_extract."
        ) from error
    if not isinstance(header, dict) or "model" not in header:
        raise LedgerConflict(f'{path}: the first line must be an object with "model". Export it again.')
    return header
