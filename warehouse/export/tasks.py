"""Tasks and their environments as rows: what is asked, what solves it, how it was proven, who worded it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envs.proof import POLICY
from envs.spec import EnvironmentSpec
from envs.task import Change, Fact, Task
from serving.credentials import published
from warehouse.export.shared import json_text, preference_row, scenario_row, toolbox_row
from warehouse.export.staging import rows
from warehouse.proven import proven
from warehouse.warehouse import Warehouse

Opening = Callable[[Task], tuple[list[dict[str, Any]], list[str]]]
"""What an assistant is told of a task: messages (`shared.MESSAGE`), and the tools as JSON text."""

_LLM_CALLS = """
SELECT e.child_id, list(struct_pack(id := c.id, model := c.model, template := c.template,
  template_sha256 := c.template_sha256, seed := c.seed) ORDER BY c.id) AS llm_calls
FROM (SELECT DISTINCT parent_id, child_id FROM lineage_edges WHERE parent_kind = 'llm_call' AND child_kind = '{kind}') e
JOIN llm_calls c ON c.id = e.parent_id GROUP BY e.child_id
"""
STAGED_TASKS = f"""
WITH chosen AS (
  SELECT * EXCLUDE (batch_id) FROM batch_tasks WHERE batch_id = $batch AND id NOT IN (SELECT unnest($left_out))
), calls AS ({_LLM_CALLS.format(kind="task")}), proof AS (
  SELECT task_id, list(struct_pack(name := name, outcome := outcome, evidence := evidence) ORDER BY name) AS checks
  FROM checks WHERE task_id IN (SELECT id FROM chosen) GROUP BY task_id
), measured AS (
  SELECT task_id, list(struct_pack(campaign := campaign, policy_id := policy_id, attempts := attempts,
    solved := solved, k := k, pass_at_k := pass_at_k) ORDER BY campaign, policy_id, id) AS measured_difficulty
  FROM difficulties WHERE task_id IN (SELECT id FROM chosen) GROUP BY task_id
), places AS (
  SELECT task_id, any_value(split) AS split FROM batch_splits WHERE batch_id = $batch GROUP BY task_id
)
SELECT c.id, c.shape, c.record, coalesce(s.split, 'train') AS split, p.checks, m.measured_difficulty, l.llm_calls
FROM chosen c LEFT JOIN places s ON s.task_id = c.id LEFT JOIN proof p ON p.task_id = c.id
LEFT JOIN measured m ON m.task_id = c.id LEFT JOIN calls l ON l.child_id = c.id
ORDER BY c.position
"""
_ENVIRONMENTS = f"""
WITH calls AS ({_LLM_CALLS.format(kind="environment")}), newest AS (
  SELECT DISTINCT a.* EXCLUDE (batch_id, position, record) FROM batch_audits a JOIN batches b USING (batch_id)
  QUALIFY rank() OVER (PARTITION BY a.environment_id ORDER BY b.created_at DESC, b.batch_id) = 1
), audited AS (
  SELECT environment_id, list(struct_pack(fault := fault, operator := operator, trials := trials, wrong := wrong,
    low := low, high := high) ORDER BY fault, operator, id) AS rates
  FROM newest GROUP BY environment_id
)
SELECT e.id, e.n_tables, e.n_rows, e.base_state_sha256, e.record, a.rates, l.llm_calls
FROM environments e LEFT JOIN audited a ON a.environment_id = e.id LEFT JOIN calls l ON l.child_id = e.id
WHERE e.id IN (SELECT unnest($ids)) ORDER BY e.domain, e.id
"""


def _published_calls(calls: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [call | {"model": published(call["model"])} for call in calls or []]


@dataclass(frozen=True)
class ExportedTask:
    """A task with the split it is in and its row of TASKS."""

    task: Task
    split: str
    row: dict[str, Any]


def exported_tasks(file: Path, opening: Opening) -> Iterator[ExportedTask]:
    """The tasks of a file staged with STAGED_TASKS, in the order of their batch."""
    for found in rows(file):
        task = Task.model_validate_json(found["record"])
        checks = sorted(found["checks"] or (), key=lambda check: _ORDER.get(check["name"], len(_ORDER)))
        prompt, tools = opening(task)
        row = {
            "id": found["id"],
            "domain": task.domain,
            "environment_id": task.environment_id,
            "prompt": prompt,
            "tools": tools,
            "instruction": task.instruction,
            "preference": preference_row(task.preference),
            "scenario": scenario_row(task.scenario),
            "toolbox": toolbox_row(task.toolbox),
            "golden": [{"tool": call.tool, "arguments": json_text(call.arguments)} for call in task.golden],
            "golden_answer": task.golden_answer,
            "goal": {
                "changeset": [_change(change) for change in task.goal.changeset],
                "facts": [_fact(fact) for fact in task.goal.facts],
            },
            "difficulty": task.difficulty,
            "shape": found["shape"],
            "measured_difficulty": found["measured_difficulty"] or [],
            "proven": proven(checks),
            "checks": checks,
            "evolution": task.evolution,
            "evolved_from": task.evolved_from,
            "llm_calls": _published_calls(found["llm_calls"]),
            "record": found["record"],
        }
        yield ExportedTask(task, found["split"], row)


_ORDER = {name: place for place, name in enumerate(POLICY)}


def verl_row(exported: ExportedTask, index: int) -> dict[str, Any]:
    """The row of VERL."""
    task = exported.task
    return {
        "data_source": f"envloom/{task.domain}",
        "prompt": exported.row["prompt"],
        "ability": "tool-use",
        "reward_model": {"style": "rule", "ground_truth": json_text(task.goal.model_dump(mode="json"))},
        "extra_info": {
            "split": exported.split,
            "index": index,
            "task_id": exported.row["id"],
            "environment_id": task.environment_id,
        },
    }


def environment_rows(warehouse: Warehouse, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of ENVIRONMENTS. Ids that are not stored have none."""
    for found in warehouse.query(_ENVIRONMENTS, {"ids": list(ids)}).to_dicts():
        spec = EnvironmentSpec.model_validate_json(found["record"])
        yield {
            **{name: found[name] for name in ("id", "n_tables", "n_rows", "base_state_sha256", "record")},
            "domain": spec.domain,
            "title": spec.title,
            "policy": spec.policy,
            "clock": spec.clock,
            "seed": spec.seed,
            "tools": [
                {"name": tool.name, "description": tool.description, "writes": tool.writes} for tool in spec.tools
            ],
            "verifier_rates": found["rates"] or [],
            "llm_calls": _published_calls(found["llm_calls"]),
        }


def _change(change: Change) -> dict[str, Any]:
    return {**change.model_dump(), "old": json_text(change.old), "new": json_text(change.new)}


def _fact(fact: Fact) -> dict[str, Any]:
    return {"label": fact.label, "kind": fact.kind, "value": json_text(fact.value), "unit": fact.unit}


def specs_of(warehouse: Warehouse, ids: Sequence[str]) -> dict[str, EnvironmentSpec]:
    """The specifications of these environments, by id. Ids that are not stored are missing."""
    if not ids:
        return {}
    found = warehouse.query("SELECT record FROM environments WHERE id IN (SELECT unnest(?)) ORDER BY id", [list(ids)])
    specs = [EnvironmentSpec.model_validate_json(record) for record in found["record"]]
    return {spec.id: spec for spec in specs}
