"""The schema: Arrow columns and a key per table, and the DuckDB statements that follow from them.

Reading, writing and validating rows live elsewhere. Keys are enforced by the ingest (an anti-join under the file lock),
not by an index: an index on content hashes makes loading ten times slower and the file eight times larger (measured).
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyarrow as pa

from warehouse.edges import LINEAGE_VIEW
from warehouse.errors import UnknownTable
from warehouse.funnel import FUNNEL_VIEWS
from warehouse.questions import QUESTION_VIEWS

SCHEMA_VERSION = 4
"""A change of tables is a new version, with its statements in `migrations`; a change of views is none."""

_TYPES: dict[str, tuple[Any, str]] = {
    "text": (pa.string(), "VARCHAR"),
    "json": (pa.string(), "VARCHAR"),  # canonical JSON; dicts and lists are accepted and written canonically
    "int": (pa.int32(), "INTEGER"),
    "big": (pa.int64(), "BIGINT"),
    "real": (pa.float64(), "DOUBLE"),
    "bool": (pa.bool_(), "BOOLEAN"),
    "time": (pa.timestamp("us"), "TIMESTAMP"),  # UTC without a zone: DuckDB needs an extension for zones
    "ints": (pa.list_(pa.int32()), "INTEGER[]"),
    "floats": (pa.list_(pa.float32()), "FLOAT[]"),
    "texts": (pa.list_(pa.string()), "VARCHAR[]"),
    "map": (pa.map_(pa.string(), pa.float64()), "MAP(VARCHAR, DOUBLE)"),
}


@dataclass(frozen=True)
class Table:
    """A table: its columns with our short type names, in order, and the columns that identify a row."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of a part of this table; key columns are not nullable."""
        return pa.schema(
            [pa.field(name, _TYPES[kind][0], nullable=name not in self.key) for name, kind in self.columns.items()]
        )

    @property
    def create_sql(self) -> str:
        columns = ", ".join(
            f'"{name}" {_TYPES[kind][1]}{" NOT NULL" if name in self.key else ""}'
            for name, kind in self.columns.items()
        )
        return f"CREATE TABLE {self.name} ({columns})"

    def member_match(self, member: str, row: str) -> str:
        """SQL that pairs a `batch_members` row with the row it names.

        A composite key is taken apart on the member's side, so that the large table's columns stay bare and DuckDB can
        push the join's filter into its scan.
        """
        if len(self.key) == 1:
            return f'{member}.record_id = {row}."{self.key[0]}"'
        parts = [f"split_part({member}.record_id, '/', {place})" for place in range(1, len(self.key) + 1)]
        return " AND ".join(
            f'{row}."{name}" = CAST({part} AS {_TYPES[self.columns[name]][1]})'
            for name, part in zip(self.key, parts, strict=True)
        )


def _table(name: str, columns: str, key: str = "id") -> Table:
    """A table from `name:type` words; a word without a type is text."""
    pairs = (word.partition(":") for word in columns.split())
    return Table(name, {column: kind or "text" for column, _, kind in pairs}, tuple(key.split()))


RECORD_TABLES = (
    _table(
        "llm_calls",
        "id model template template_sha256 seed:big prompt_tokens:int completion_tokens:int seconds:real finish_reason "
        "cost_usd:real record:json",
    ),
    _table(
        "environments",
        "id domain title n_tables:int n_rows:int n_tools:int clock seed:big base_state_sha256 record:json",
    ),
    _table("tools", "id environment_id domain name writes:bool n_parameters:int record:json"),
    _table(
        "tasks",
        "id environment_id domain instruction shape difficulty:int n_writes:int n_facts:int record:json",
    ),
    _table("splits", "task_id split", key="task_id split"),
    _table("checks", "id task_id environment_id name outcome evidence"),
    _table("audits", "id environment_id domain fault operator trials:int wrong:int low:real high:real record:json"),
    _table("rejections", "id domain stage reason detail record:json"),
    _table(
        "diversity",
        "id scope tasks:int distinct_shapes:int tool_bigram_entropy_bits:real tools:int tools_used:int "
        "lexical_diversity:real repeated:int",
    ),
    _table("difficulties", "id campaign task_id domain policy_id k:int attempts:int solved:int pass_at_k:real"),
    _table(
        "rollouts",
        "id campaign iteration:int purpose task_id environment_id domain policy_id group_id sample:int seed:big "
        "outcome solved:bool stop_reason answer n_turns:int n_calls:int n_malformed:int "
        "prompt_tokens:big completion_tokens:big cost_usd:real latency_s:real reasons:texts toolbox:json "
        "preference:json simulated_experts:bool",
    ),
    _table(
        "turns",
        "rollout_id turn:int context_ids:ints completion_ids:ints logprobs:floats extends:bool finish_reason "
        "prompt_tokens:int completion_tokens:int latency_s:real cost_usd:real calls:json results:json charges:json "
        "text message reply",
        key="rollout_id turn",
    ),
    _table(
        "rewards",
        "update_id rollout_id components:map reward:real advantage:real status",
        key="update_id rollout_id",
    ),
    _table(
        "updates",
        "id campaign iteration:int kind parent_checkpoint checkpoint_id loss:real grad_norm:real n_tokens:big "
        "n_rollouts:int counts:json statistics:json seconds:real config:json seed:big",
    ),
    _table(
        "checkpoints",
        "id parent_id base_model kind campaign iteration:int rollouts_batch_id config:json seed:big code_version path "
        "adapter_sha256 record:json",
    ),
    _table(
        "evaluations",
        "id campaign iteration:int policy_id split n:int solved:int success:real success_low:real success_high:real "
        "cost_usd_mean:real latency_s_mean:real turns_mean:real simulated_experts:bool record:json",
    ),
)
"""What batches consist of."""

BOOK_TABLES = (
    _table(
        "lineage_edges",
        "parent_kind parent_id child_kind child_id relation batch_id",
        key="parent_kind parent_id child_kind child_id relation",
    ),
    _table(
        "batches",
        "batch_id asset partition data_version code_version run_id created_at:time n_rows:big runtime_id",
        key="batch_id",
    ),
    _table("batch_members", "batch_id position:big table_name record_id", key="batch_id table_name position"),
    _table("runtimes", "id code_version dirty:bool lock_sha256 python machine:json libraries:json"),
    _table("quarantines", "id kind record_id reason created_at:time lifted_at:time"),
    _table("givens", "id kind name record:json"),
)
"""What the warehouse keeps about batches and records.

`batches.partition` is null for an asset without partitions. A row of `runtimes` tells what code made batches, on what
machine, with what libraries. Rows never change, and so a quarantine is lifted by a second row: of the same `kind`,
`record_id` and `created_at`, with `lifted_at` set and the reason of the lifting. The view `quarantined` has those that
are in force; a record quarantined twice is free when both are lifted. `givens` holds what batches were made with beside
other batches, such as the settings of a campaign; edges `given` lead from it to them.
"""

ADDED_COLUMNS = {"batches": ("runtime_id",)}
"""Columns that parts written before a migration may lack; they are null there."""

TABLES: dict[str, Table] = {table.name: table for table in (*RECORD_TABLES, *BOOK_TABLES)}


def table_named(name: str) -> Table:
    """The table of this name, or `UnknownTable` with the names there are."""
    if name not in TABLES:
        raise UnknownTable(f'table "{name}" is unknown. Use one of {", ".join(TABLES)}.')
    return TABLES[name]


def creation_sql() -> list[str]:
    """Every statement that makes an empty warehouse: tables, views, and what it remembers of them."""
    return [
        "CREATE TABLE meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL)",
        *(table.create_sql for table in TABLES.values()),
        *view_sql(),
        *remembered_sql(),
    ]


def remembered_sql() -> list[str]:
    """The statements that note in `meta` which tables and views the file has."""
    known = f"('schema_version', '{SCHEMA_VERSION}'), ('views_sha256', '{views_sha256()}')"
    return ["DELETE FROM meta", f"INSERT INTO meta VALUES {known}"]


@cache
def views_sha256() -> str:
    """What tells this code's views from another's."""
    return hashlib.sha256("\0".join(view_sql()).encode()).hexdigest()


@cache
def view_sql() -> tuple[str, ...]:
    """`current_batches`; per table `batch_<table>` (every batch's rows) and `current_<table>`; `lineage`; and more."""
    views = [
        "CREATE OR REPLACE VIEW current_batches AS SELECT * FROM batches QUALIFY row_number() OVER "
        "(PARTITION BY asset, partition ORDER BY created_at DESC, batch_id DESC) = 1"
    ]
    for table in RECORD_TABLES:
        views.append(
            f"CREATE OR REPLACE VIEW batch_{table.name} AS SELECT m.batch_id, m.position, t.* FROM batch_members m "
            f"JOIN {table.name} t ON {table.member_match('m', 't')} WHERE m.table_name = '{table.name}'"
        )
        views.append(
            f"CREATE OR REPLACE VIEW current_{table.name} AS SELECT b.asset, b.partition, v.* FROM current_batches b "
            f"JOIN batch_{table.name} v USING (batch_id)"
        )
    views.append(
        "CREATE OR REPLACE VIEW quarantined AS SELECT * EXCLUDE lifted_at FROM quarantines q WHERE lifted_at IS NULL "
        "AND NOT EXISTS (FROM quarantines l WHERE l.lifted_at IS NOT NULL AND l.kind = q.kind "
        "AND l.record_id = q.record_id AND l.created_at = q.created_at)"
    )
    return (*views, LINEAGE_VIEW, *FUNNEL_VIEWS, *QUESTION_VIEWS)


def temporary_view_sql() -> list[str]:
    """The views of `view_sql` for one connection alone, for a file that cannot be written."""
    return [statement.replace("CREATE OR REPLACE", "CREATE OR REPLACE TEMPORARY", 1) for statement in view_sql()]
