"""The table that people think of when they open an asset: its columns and how many rows of it there are."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from generators.brief import Brief
from warehouse.tables import TABLES, Table
from warehouse.warehouse import Warehouse

TABLE_OF = {
    "environment": "environments",
    "candidate_tasks": "tasks",
    "proven_tasks": "tasks",
    "task_dataset": "tasks",
    "difficulty": "difficulties",
    "base_policy": "checkpoints",
    "warm_policy": "checkpoints",
    "baseline": "evaluations",
    "rollouts": "rollouts",
    "checkpoint": "checkpoints",
    "evaluation": "evaluations",
}
"""What else an asset stores is counted in its metadata too; a brief is a file of its own and no row."""

BRIEF = {
    "title": "what the domain is called",
    "description": "what it is about, given to the synthesist",
    "kind": "service: tables and tools; documents: an archive to be searched",
    "clock": "the frozen present of the environment, ISO 8601",
    "entities": "entity → what to know about it; empty: the synthesist proposes them",
    "rules": "business rules in words, given to the synthesist as hints",
    "sizes": "rows, tools, tasks and paraphrases to make",
    "seed": "what rows, tasks and prices are drawn from",
    "answers_seed": "goes out with every question to the model",
}
COLUMNS = {
    "id": "hash of the content",
    "record": "the whole record as canonical JSON",
    "seed": "what everything random was derived from",
    "domain": "the domain's name",
    "campaign": "the campaign's name",
    "iteration": "of the loop, from 0; -1 before it begins",
    "environment_id": "the environment it plays in",
    "policy_id": "the checkpoint, or the base model's fingerprint",
    "task_id": "the task that is attempted",
    "simulated_experts": "whether an expert's answers were simulated",
}
"""What columns of one name mean in every table."""

COLUMNS_OF: dict[str, dict[str, str]] = {
    "environments": {
        "title": "what the domain is called",
        "n_tables": "tables",
        "n_rows": "rows of all tables",
        "n_tools": "tools",
        "clock": "the frozen present, ISO 8601",
        "base_state_sha256": "hash of the sealed database",
    },
    "tasks": {
        "instruction": "the request, as the policy reads it",
        "shape": "the tools of the golden program, in order",
        "difficulty": "golden calls",
        "n_writes": "golden calls that change the state",
        "n_facts": "facts that the answer must tell",
    },
    "difficulties": {
        "policy_id": "the reference policy",
        "k": "of pass@k",
        "attempts": "rollouts without an environment error",
        "solved": "of the attempts",
        "pass_at_k": "unbiased estimate; null with fewer than k attempts",
    },
    "checkpoints": {
        "id": "the checkpoint, or the base model's fingerprint",
        "parent_id": "the checkpoint it was trained from",
        "base_model": "fingerprint of the weights below the adapter",
        "kind": "base, warm_start or grpo",
        "rollouts_batch_id": "the batch of rollouts it was trained on",
        "config": "settings of the update",
        "code_version": "commit, with +dirty if files differed from it",
        "path": "folder of the adapter",
        "adapter_sha256": "hash of the adapter's bytes",
    },
    "rollouts": {
        "purpose": "training, evaluation or difficulty",
        "group_id": "attempts at the same task under the same toolbox",
        "sample": "place in the group",
        "outcome": "solved, failed or environment_error",
        "solved": "whether the outcome is solved",
        "stop_reason": "what ended it",
        "answer": "the policy's last words",
        "n_turns": "turns of the policy",
        "n_calls": "tool calls",
        "n_malformed": "turns that could not be read",
        "prompt_tokens": "read by the policy, over all turns",
        "completion_tokens": "written by the policy",
        "cost_usd": "policy and experts, USD",
        "latency_s": "seconds from the request to the answer",
        "reasons": "why it was judged so",
        "toolbox": "tools, experts and prices it had",
        "preference": "what the user asked to be spared",
    },
    "evaluations": {
        "split": "of the dataset",
        "n": "rollouts without an environment error",
        "solved": "of these rollouts",
        "success": "share solved",
        "success_low": "lower end of its 95 % interval (Wilson)",
        "success_high": "upper end",
        "cost_usd_mean": "per rollout, USD",
        "latency_s_mean": "per rollout, seconds",
        "turns_mean": "per rollout",
    },
}


def table_metadata(asset: str) -> dict[str, Any]:
    """What an asset's definition says of its table."""
    if asset == "brief":
        return {"dagster/column_schema": _fields_of_a_brief()}
    table = TABLES[TABLE_OF[asset]]
    return {"dagster/column_schema": _columns(table), "dagster/table_name": table.name}


def row_counts(warehouse: Warehouse, asset: str, tables: Mapping[str, Sequence[object]]) -> dict[str, int]:
    """Rows of an asset's table: in the partition that was just recorded, and in all that stand now."""
    if asset == "brief":
        query = "SELECT count(*) FROM current_batches WHERE asset = ?"
        return {"dagster/partition_row_count": 1, "dagster/row_count": _count(warehouse, query, [asset])}
    name = TABLE_OF[asset]
    members = "SELECT count(*) FROM batch_members JOIN current_batches USING (batch_id)"
    query = f"{members} WHERE asset = ? AND table_name = ?"
    return {
        "dagster/partition_row_count": len(tables.get(name, ())),
        "dagster/row_count": _count(warehouse, query, [asset, name]),
    }


def _count(warehouse: Warehouse, query: str, parameters: list[str]) -> int:
    return int(warehouse.query(query, parameters).item())


def _columns(table: Table) -> dg.TableSchema:
    meaning = COLUMNS | COLUMNS_OF[table.name]
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name,
                str(table.schema.field(name).type),
                meaning.get(name),
                dg.TableColumnConstraints(nullable=name not in table.key, unique=(name,) == table.key),
            )
            for name in table.columns
        ]
    )


def _fields_of_a_brief() -> dg.TableSchema:
    columns = [
        dg.TableColumn(
            name,
            getattr(field.annotation, "__name__", str(field.annotation)).replace("Literal", "str"),
            BRIEF[name],
            dg.TableColumnConstraints(nullable=not field.is_required()),
        )
        for name, field in Brief.model_fields.items()
    ]
    return dg.TableSchema(columns=columns)
