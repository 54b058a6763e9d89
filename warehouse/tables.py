"""The schema: every table with its columns and key, and the DuckDB statements that follow from them.

The name, type and meaning of a column stand here, or in `tables_of_tasks` and `tables_of_rollouts`, and nowhere else:
the UI's descriptions, dataset cards and the documentation are made from them. Reading, writing and validating rows live
elsewhere. Keys are enforced by the ingest (an anti-join under the file lock), not by an index: an index on content
hashes makes loading ten times slower and the file eight times larger (measured).
"""

import hashlib
from functools import cache

from warehouse.columns import Table, define_table
from warehouse.edges import LINEAGE_VIEW
from warehouse.errors import UnknownTable
from warehouse.funnel import FUNNEL_VIEWS
from warehouse.questions import QUESTION_VIEWS
from warehouse.tables_of_rollouts import ROLLOUT_TABLES
from warehouse.tables_of_tasks import TASK_TABLES

SCHEMA_VERSION = 4
"""A change of tables is a new version, with its statements in `migrations`; a column marked `?` or a view is none."""

RECORD_TABLES = (*TASK_TABLES, *ROLLOUT_TABLES)
"""What batches consist of."""

BOOK_TABLES = (
    define_table(
        "lineage_edges",
        "A parent of a record, as the maker of the batch told it.",
        """
        parent_kind text Kind of the parent, such as llm_call.
        parent_id text Id of the parent.
        child_kind text Kind of the child, such as task.
        child_id text Id of the child.
        relation text What the parent did for the child.
        batch_id text The batch that was recorded with the edge.
        """,
        key="parent_kind parent_id child_kind child_id relation",
    ),
    define_table(
        "batches",
        "What one materialization of an asset produced.",
        """
        batch_id text Hash of asset, partition, data version and run.
        asset text The asset.
        partition text The partition; null for an asset without partitions.
        data_version text Hash of the content.
        code_version text Commit, with +dirty if files differed from it.
        run_id text The run that recorded it.
        created_at time When it was recorded, UTC.
        n_rows big Rows of all tables.
        runtime_id text? What made it, and on what machine: a row of runtimes.
        """,
        key="batch_id",
    ),
    define_table(
        "batch_members",
        "A row that a batch consists of.",
        """
        batch_id text The batch.
        position big Place of the row among the batch's rows of the table, from 0.
        table_name text The table of the row.
        record_id text The row's key; the columns of a composite key are joined by a slash.
        """,
        key="batch_id table_name position",
    ),
    define_table(
        "runtimes",
        "The code, machine and libraries that made batches.",
        """
        id text Hash of the content.
        code_version text Commit, with +dirty if files differed from it.
        dirty bool Whether files differed from the commit.
        lock_sha256 text Hash of constraints.txt.
        python text Version of Python.
        machine json The machine.
        libraries json Library → version.
        """,
    ),
    define_table(
        "quarantines",
        "A record taken out of use, or the lifting of that.",
        """
        id text Hash of the content.
        kind text Kind of the record, such as prompt.
        record_id text Id of the record.
        reason text Why it was taken out of use, or why it may be used again.
        created_at time When it was taken out of use, UTC.
        lifted_at time When that was lifted, UTC; null in the row that takes out of use.
        """,
    ),
    define_table(
        "givens",
        "What batches were made with beside other batches, such as the settings of a campaign.",
        """
        id text Hash of the content.
        kind text campaign, sources or held_out.
        name text Its name.
        record json The whole of it, canonical JSON.
        """,
    ),
)
"""What the warehouse keeps about batches and records.

Rows never change, and so a quarantine is lifted by a second row: of the same `kind`, `record_id` and `created_at`, with
`lifted_at` set and the reason of the lifting. The view `quarantined` has those that are in force; a record quarantined
twice is free when both are lifted. Edges `given` lead from `givens` to the batches that were made with them.
"""

TABLES: dict[str, Table] = {table.name: table for table in (*RECORD_TABLES, *BOOK_TABLES)}


def table_named(name: str) -> Table:
    """The table of this name, or `UnknownTable` with the names there are."""
    if name not in TABLES:
        raise UnknownTable(f'table "{name}" is unknown. Use one of {", ".join(TABLES)}.')
    return TABLES[name]


def documented_tables() -> str:
    """Every table in markdown: a row's meaning, the key, and each column's name, type and meaning."""
    return "\n\n".join(map(_documented, TABLES.values()))


def _documented(table: Table) -> str:
    key = ", ".join(f"`{name}`" for name in table.key)
    rows = [row for column in table.columns.values() for row in column.documented()]
    lines = ["| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in rows]
    return "\n".join([f"### `{table.name}`", "", f"{table.meaning} Key: {key}.", "", *lines])


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
    """Tells this code's views from another's, and its columns too: views select all columns of their tables."""
    names = [f"{table.name}.{column}" for table in TABLES.values() for column in table.columns]
    return hashlib.sha256("\0".join((*names, *view_sql())).encode()).hexdigest()


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
