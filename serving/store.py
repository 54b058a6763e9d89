"""The file of a ledger: answered calls, which process is asking what, and what waits for the answers of a batch.

One SQLite file in WAL mode, shared by threads and processes of one machine. Nothing is asked here.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from envs.record import canonical_json
from serving.endpoint import ChatRequest, LlmCall, Price, call_id
from serving.errors import LedgerDamaged
from serving.watchdog import process_started

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS calls (
        id TEXT PRIMARY KEY,
        model TEXT NOT NULL,
        template TEXT NOT NULL,
        template_sha256 TEXT NOT NULL,
        prompt_tokens INTEGER, -- NULL where the endpoint gave no usage
        completion_tokens INTEGER,
        seconds REAL NOT NULL,
        record TEXT NOT NULL -- canonical JSON of the whole call
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS claims ( -- who is asking
        id TEXT PRIMARY KEY,
        pid INTEGER NOT NULL,
        started TEXT NOT NULL -- of that process, since pids are used again
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS pending ( -- in a batch file, not answered yet
        id TEXT PRIMARY KEY,
        record TEXT NOT NULL, -- canonical JSON of the question
        refusal TEXT -- why an answer file had none
    ) STRICT, WITHOUT ROWID
    """,
)


class Question(BaseModel):
    """What a batch file asks: enough to make a call of it once the answer is there."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model: str  # fingerprint
    name: str = ""  # by which the endpoint knows it; older ledgers did not keep it
    request: ChatRequest
    price: Price | None = None

    @property
    def id(self) -> str:
        return call_id(self.model, self.request)


class CallStore:
    """Answered, claimed and pending calls of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two first users at once: the change to WAL does not wait for locks as other statements do.
        with FileLock(f"{path}.lock"), self._connected() as db:
            db.execute("PRAGMA journal_mode = WAL")
            for statement in _SCHEMA:
                db.execute(statement)
            _admit_unknown_tokens(db)

    # -- answers -----------------------------------------------------------------------------------------------

    def calls(self, ids: Iterable[str]) -> list[LlmCall]:
        """The stored calls among `ids`, sorted by id."""
        with self._connected() as db:
            rows = db.execute(
                "SELECT record FROM calls WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
                (json.dumps(list(ids)),),
            )
            return [LlmCall.model_validate_json(record) for (record,) in rows]

    def add(self, calls: Sequence[LlmCall]) -> list[LlmCall]:
        """Commit `calls` and return what the file then holds: of two answers to one question, the first stays."""
        ids = [(call.id,) for call in calls]
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
                        call.canonical().decode(),
                    )
                    for call in calls
                ],
            )
            db.executemany("DELETE FROM claims WHERE id = ?", ids)
            db.executemany("DELETE FROM pending WHERE id = ?", ids)
        held = {call.id: call for call in self.calls(call.id for call in calls)}
        return [held[call.id] for call in calls]

    def forget(self, ids: Iterable[str]) -> None:
        """Remove the answers of these calls, so that they are asked again."""
        with self._connected() as db:
            db.executemany("DELETE FROM calls WHERE id = ?", [(identity,) for identity in ids])

    def rename_model(self, former: str, model: str) -> None:
        """Give answers and questions of a model another fingerprint; the former one held a credential.

        Nothing of it stays in the file.
        """
        with self._connected() as db:
            db.execute("PRAGMA secure_delete = ON")
            records = db.execute("SELECT record FROM calls WHERE model = ?", (former,)).fetchall()
            waiting = db.execute("SELECT record FROM pending WHERE record ->> '$.model' = ?", (former,)).fetchall()
        if not records and not waiting:
            return
        calls = [LlmCall.model_validate_json(record).model_copy(update={"model": model}) for (record,) in records]
        self.add([LlmCall(**dict(call)) for call in calls])
        questions = [Question.model_validate_json(record) for (record,) in waiting]
        self.await_answers(question.model_copy(update={"model": model}) for question in questions)
        with self._connected() as db:
            db.execute("PRAGMA secure_delete = ON")
            db.execute("DELETE FROM calls WHERE model = ?", (former,))
            db.execute("DELETE FROM pending WHERE record ->> '$.model' = ?", (former,))
        with self._connected() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- who asks ----------------------------------------------------------------------------------------------

    def claim(self, identity: str) -> bool:
        """Whether the caller is to ask this question: it is not answered, and no living process is asking it.

        A claim ends with an answer, with `release`, or with its process, so a killed run holds nobody up.
        """
        with self._connected() as db:
            db.execute("BEGIN IMMEDIATE")
            if db.execute("SELECT 1 FROM calls WHERE id = ?", (identity,)).fetchone():
                return False
            held = db.execute("SELECT pid, started FROM claims WHERE id = ?", (identity,)).fetchone()
            if held is not None and process_started(held[0]) == held[1]:
                return False
            mine = (identity, os.getpid(), process_started(os.getpid()) or "")
            db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", mine)
            return True

    def release(self, identity: str) -> None:
        """Give up a claim of this process: whoever waits for the answer may ask."""
        with self._connected() as db:
            db.execute("DELETE FROM claims WHERE id = ? AND pid = ?", (identity, os.getpid()))

    # -- batches -----------------------------------------------------------------------------------------------

    def await_answers(self, questions: Iterable[Question]) -> None:
        """Remember what a batch file asks, with the refusals that earlier answers brought."""
        with self._connected() as db:
            db.executemany(
                "INSERT INTO pending VALUES (?, ?, NULL) ON CONFLICT DO UPDATE SET record = excluded.record",
                [(each.id, canonical_json(each.model_dump(mode="json")).decode()) for each in questions],
            )

    def pending(self) -> dict[str, Question]:
        """Every question of a batch file that has no answer yet, by id."""
        with self._connected() as db:
            rows = db.execute("SELECT id, record FROM pending ORDER BY id")
            return {identity: Question.model_validate_json(record) for identity, record in rows}

    def refuse(self, refusals: dict[str, str]) -> None:
        """Note, by id, why pending questions were not answered."""
        with self._connected() as db:
            db.executemany("UPDATE pending SET refusal = ? WHERE id = ?", [(why, i) for i, why in refusals.items()])

    def refusals(self, ids: Iterable[str]) -> dict[str, str]:
        """Of the pending questions among `ids` that were refused: why."""
        with self._connected() as db:
            rows = db.execute(
                "SELECT id, refusal FROM pending WHERE refusal IS NOT NULL "
                "AND id IN (SELECT value FROM json_each(?)) ORDER BY id",
                (json.dumps(list(ids)),),
            )
            return dict(rows.fetchall())

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """One connection per use: connections are bound to a thread, and opening one costs a tenth of a millisecond.

        Raises LedgerDamaged.
        """
        db = sqlite3.connect(self.path, timeout=60)
        try:
            db.execute("PRAGMA synchronous = NORMAL")  # with WAL: safe against a killed process
            with db:
                yield db
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise
            raise LedgerDamaged(
                f"{self.path}: is damaged ({error}). Put a copy of it in its place, or move it away: then a recording "
                "is read in again, and a model is asked again what only this file had the answers to."
            ) from error
        finally:
            db.close()


def _admit_unknown_tokens(db: sqlite3.Connection) -> None:
    """Older ledgers kept 0 where an endpoint gave no usage, in columns that cannot be NULL."""
    required = {name for _, name, _, not_null, *_ in db.execute("PRAGMA table_info(calls)") if not_null}
    if "prompt_tokens" not in required:
        return
    db.execute("BEGIN IMMEDIATE")
    db.execute("ALTER TABLE calls RENAME TO older_calls")
    db.execute(_SCHEMA[0])
    db.execute("INSERT INTO calls SELECT * FROM older_calls")
    db.execute("DROP TABLE older_calls")
    for identity, record in db.execute("SELECT id, record FROM calls WHERE prompt_tokens = 0").fetchall():
        unknown = {"prompt_tokens": None, "completion_tokens": None}
        call = LlmCall.model_validate_json(record).model_copy(update=unknown)
        tokens = ", ".join(f"{name} = NULL" for name in unknown)
        db.execute(f"UPDATE calls SET {tokens}, record = ? WHERE id = ?", (call.canonical().decode(), identity))
