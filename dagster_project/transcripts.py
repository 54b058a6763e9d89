"""Rollouts as people read them: words, calls, results, costs, the verdict; and the campaign's page that shows them."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

from dagster_project import stored
from dagster_project.home import Home
from envs.record import canonical_json
from envs.task import Task, Toolbox
from envs.tools import ToolResult
from trainer.dialect import render_call
from trainer.rollout import Charge, Rollout, Turn
from warehouse.reports import page
from warehouse.warehouse import Warehouse

CHOSEN = """
WITH placed AS (
  SELECT *, row_number() OVER (PARTITION BY outcome, domain, stop_reason ORDER BY n_turns DESC, id) AS place
  FROM current_rollouts
  WHERE campaign = $campaign AND purpose = 'evaluation' AND policy_id = $policy AND iteration = $iteration
)
SELECT id FROM placed QUALIFY row_number() OVER (PARTITION BY outcome ORDER BY place, domain, id) <= $most
"""
"""Of each outcome every domain and end once, before any twice."""
TASKS = "SELECT DISTINCT id, record FROM tasks WHERE id IN (SELECT unnest(?))"
_LIMIT_CHARS = 1500


def write_report(home: Home, campaign: str, to: Path | None = None) -> Path:
    """Write the report of a campaign and say where: by default `reports/<campaign>.html`. Raises NotFound."""
    file = to or home.reports / f"{campaign}.html"
    return page.write_report(Warehouse(home.warehouse, home.parts), campaign, file, transcripts)


def transcripts(
    warehouse: Warehouse, campaign: str, policy_id: str, iteration: int, most: int = 3
) -> list[dict[str, Any]]:
    """Solved rollouts of one evaluation, then failed ones, then such in which the environment broke: `most` of each."""
    asked = {"campaign": campaign, "policy": policy_id, "iteration": iteration, "most": most}
    found = stored.rollouts_by_id(warehouse, warehouse.query(CHOSEN, asked)["id"].to_list())
    rows = warehouse.query(TASKS, [[rollout.task_id for rollout in found]]).to_dicts()
    tasks = {row["id"]: Task.model_validate_json(row["record"]) for row in rows}
    order = ("solved", "failed", "environment_error")
    found.sort(key=lambda rollout: (order.index(rollout.outcome), rollout.domain, rollout.id))
    return [transcript(rollout, tasks[rollout.task_id]) for rollout in found]


def transcript(rollout: Rollout, task: Task) -> dict[str, Any]:
    """One rollout as plain data for a page."""
    return {
        "id": rollout.id,
        "task_id": task.id,
        "domain": rollout.domain,
        "outcome": str(rollout.outcome),
        "stop_reason": str(rollout.stop_reason),
        "reasons": rollout.reasons,
        "cost_usd": rollout.cost_usd,
        "latency_s": rollout.latency_s,
        "simulated": rollout.simulated_experts,
        "request": task.instruction,
        "preference": rollout.preference.text,
        "tools": [
            {"name": name, "price_usd": rollout.toolbox.call_prices_usd.get(name, 0.0), "foreign": foreign}
            for names, foreign in (
                (rollout.toolbox.tools, False),
                ([distractor.tool for distractor in rollout.toolbox.distractors], True),
            )
            for name in names
        ],
        "experts": [expert.model_dump() for expert in rollout.toolbox.experts],
        "turns": [_turn(turn, rollout.toolbox) for turn in rollout.turns],
        "golden": [render_call(call) for call in task.golden],
        "golden_answer": task.golden_answer,
    }


def _turn(turn: Turn, toolbox: Toolbox) -> dict[str, Any]:
    calls = [
        _call(render_call(call), result, charge, toolbox)
        for call, result, charge in zip_longest(turn.calls, turn.results, turn.charges)
        if call is not None
    ]
    return {
        "text": turn.text,
        "calls": calls,
        "malformed": [str(result.error) for result in turn.results] if not turn.calls else [],
        "reply": turn.reply,
        "tokens": turn.completion_tokens,
        "cut": turn.finish_reason == "length",
        "cost_usd": turn.cost_usd,
        "latency_s": turn.latency_s,
    }


def _call(words: str, result: ToolResult | None, charge: Charge | None, toolbox: Toolbox) -> dict[str, Any]:
    return {
        "call": words,
        "ok": result is not None and result.ok,
        "result": _result(result),
        "charge": charge
        and {
            "usd": charge.cost_usd(toolbox),
            "latency_s": charge.latency_s,
            "expert": charge.kind == "expert",
            "tokens": (charge.input_tokens, charge.output_tokens),
            "simulated": charge.simulated,
        },
    }


def _result(result: ToolResult | None) -> str:
    if result is None:
        return ""
    if not result.ok:
        return str(result.error)
    told = result.value if isinstance(result.value, str) else canonical_json(result.value).decode()
    left = len(told) - _LIMIT_CHARS
    return told if left <= 0 else f"{told[:_LIMIT_CHARS]} … ({left} characters more)"
