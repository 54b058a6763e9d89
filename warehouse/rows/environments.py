"""Environments and their tools as rows, and back."""

from collections.abc import Iterable
from typing import Any

from envs.environment import Environment
from envs.spec import EnvironmentSpec, Tool
from envs.toolbox import ToolboxConfig
from warehouse.warehouse import Batch, Warehouse


def environment_row(environment: Environment) -> dict[str, Any]:
    """The row of one environment."""
    spec = environment.spec
    return {
        "id": spec.id,
        "domain": spec.domain,
        "title": spec.title,
        "n_tables": len(spec.tables),
        "n_rows": sum(len(rows) for rows in spec.rows.values()),
        "n_tools": len(spec.tools),
        "clock": spec.clock,
        "seed": spec.seed,
        "base_state_sha256": environment.base.sha256,
        "record": spec.canonical(),
    }


def tool_rows(spec: EnvironmentSpec) -> list[dict[str, Any]]:
    """One row per tool of an environment."""
    return [
        {
            "id": f"{spec.id}.{tool.name}",
            "environment_id": spec.id,
            "domain": spec.domain,
            "name": tool.name,
            "writes": tool.writes,
            "n_parameters": len(tool.parameters),
            "record": tool.canonical(),
        }
        for tool in spec.tools
    ]


def read_spec(warehouse: Warehouse, batch: Batch) -> EnvironmentSpec:
    """The environment of a batch."""
    return EnvironmentSpec.model_validate_json(warehouse.records(batch.batch_id, "environments")[0])


def tools_of(warehouse: Warehouse, environment_ids: Iterable[str]) -> dict[tuple[str, str], Tool]:
    """The tools of these environments, by environment id and name."""
    rows = warehouse.query(
        "SELECT environment_id, name, record FROM tools WHERE environment_id IN (SELECT unnest(?)) ORDER BY id",
        [sorted(environment_ids)],
    )
    return {(row["environment_id"], row["name"]): Tool.model_validate_json(row["record"]) for row in rows.to_dicts()}


def environments_of(warehouse: Warehouse, ids: Iterable[str]) -> dict[str, Environment]:
    """The environments of these ids, loaded. Raises KeyError for one that is not stored."""
    loaded = {}
    for identity in sorted(set(ids)):
        records = warehouse.query("SELECT record FROM environments WHERE id = ?", [identity])["record"].to_list()
        if not records:
            raise KeyError(f"environment {identity} is not in the warehouse")
        loaded[identity] = Environment.load(EnvironmentSpec.model_validate_json(records[0]))
    return loaded


def environment_ids(warehouse: Warehouse, data: Batch) -> list[str]:
    """The ids of the environments of a dataset's tasks, sorted."""
    return sorted(set(warehouse.read_batch(data.batch_id, "tasks")["environment_id"]))


def golden_environments(
    warehouse: Warehouse, data: Batch, of_tasks: Iterable[str], toolbox: ToolboxConfig
) -> dict[str, Environment]:
    """Those of the tasks whose golden trajectories are trained on, and those that lend them distractors."""
    return environments_of(warehouse, {*of_tasks, *(environment_ids(warehouse, data) if toolbox.distractors else ())})
