"""A warehouse in a temporary folder, and one that holds a small campaign told by hand."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from warehouse.lineage import Edge
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb", tmp_path / "parts", timeout_s=60)


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, Any]]:
    """A row of a table: the values given, null elsewhere."""

    def build(table: str, **values: Any) -> dict[str, Any]:
        assert set(values) <= set(TABLES[table].columns), f"the test names unknown columns of {table}"
        return dict.fromkeys(TABLES[table].columns) | values

    return build


@pytest.fixture
def campaign(told: Path, warehouse: Warehouse) -> Warehouse:
    """A copy of the told campaign, to read and to write."""
    shutil.copy(told, warehouse.path)
    return warehouse


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory, row: Callable[..., dict[str, Any]]) -> Path:
    """One domain, two tasks worded by two versions of a prompt, one rejected, and one update from four rollouts."""
    folder = tmp_path_factory.mktemp("campaign")
    warehouse = Warehouse(folder / "warehouse.duckdb", folder / "parts")
    made = {"run_id": "run-1", "code_version": "abc"}
    calls = [
        row("llm_calls", id=f"call-{n}", model="m", template="phrases", template_sha256=f"v{n}", seed=n, seconds=0.5)
        for n in (1, 2)
    ]
    environment = row("environments", id="env", domain="retail", title="Shop", record={"domain": "retail"})
    tools = [row("tools", id="tool", environment_id="env", domain="retail", name="refund", writes=True)]
    environments = warehouse.record_batch(
        "environment", "retail", {"environments": [environment], "tools": tools}, **made
    )
    tasks = [
        row(
            "tasks",
            id=f"task-{n}",
            environment_id="env",
            domain="retail",
            instruction=f"Do {n}",
            difficulty=n,
            record={},
        )
        for n in (1, 2)
    ]
    proven = warehouse.record_batch(
        "proven_tasks",
        "retail",
        {
            "llm_calls": calls,
            "tasks": tasks,
            "rejections": [row("rejections", id="no", domain="retail", stage="proof", reason="not_vacuous")],
            "audits": [
                row("audits", id="audit", domain="retail", operator="all", trials=40, wrong=0, low=0.0, high=0.09)
            ],
            "checks": [row("checks", id="check", task_id="task-1", name="minimal", outcome="passed")],
            "diversity": [row("diversity", id="diversity", scope="retail", tasks=2, distinct_shapes=2, repeated=0)],
        },
        [Edge("llm_call", f"call-{n}", "task", f"task-{n}", "worded_by") for n in (1, 2)],
        inputs=[environments],
        **made,
    )
    splits = [row("splits", task_id="task-1", split="train"), row("splits", task_id="task-2", split="held_out")]
    dataset = {"tasks": tasks, "splits": splits}
    warehouse.record_batch("task_dataset", None, dataset, inputs=[proven], **made)
    rollouts = [
        row(
            "rollouts",
            id=f"rollout-{n}",
            campaign="demo",
            iteration=1,
            purpose="train",
            task_id=f"task-{1 + n // 2}",
            environment_id="env",
            domain="retail",
            policy_id="base",
            group_id=f"group-{n // 2}",
            sample=n % 2,
            outcome="solved" if n == 0 else "failed",
            solved=n == 0,
            cost_usd=0.01,
            latency_s=2.0,
            n_calls=1,
            reasons=[] if n == 0 else ["changeset"],
        )
        for n in range(4)
    ]
    turns = [
        row(
            "turns",
            rollout_id=f"rollout-{n}",
            turn=0,
            context_ids=[1, 2],
            completion_ids=[3],
            logprobs=[-0.5],
            extends=True,
            calls=[{"tool": "refund", "arguments": {}}],
        )
        for n in range(4)
    ]
    collected = warehouse.record_batch("rollouts", "demo-0001", {"rollouts": rollouts, "turns": turns}, **made)
    rewards = [
        row(
            "rewards",
            update_id="update-1",
            rollout_id=f"rollout-{n}",
            components={"outcome": float(n == 0), "cost": -0.01},
            reward=float(n == 0) - 0.01,
            advantage=(0.5, -0.5, 0.0, 0.0)[n],
            status="trained" if n < 2 else "zero_variance",
        )
        for n in range(4)
    ]
    trained: dict[str, Any] = {"campaign": "demo", "iteration": 1, "kind": "grpo", "seed": 7, "config": {"lr": 1e-5}}
    update = row("updates", id="update-1", parent_checkpoint="base", checkpoint_id="step-1", loss=0.1, **trained)
    checkpoint = row("checkpoints", id="step-1", parent_id="base", rollouts_batch_id=collected.batch_id, **trained)
    after = {"updates": [update], "rewards": rewards, "checkpoints": [checkpoint]}
    warehouse.record_batch("checkpoint", "demo-0001", after, inputs=[collected], **made)
    tried = {"policy_id": "base", "k": 1, "attempts": 8, "solved": 2}
    measured = row("difficulties", id="hard", campaign="demo", task_id="task-1", **tried)
    warehouse.record_batch("difficulty", "demo", {"difficulties": [measured]}, **made)
    evaluation = row("evaluations", id="eval", campaign="demo", iteration=1, policy_id="step-1", split="held_out", n=1)
    warehouse.record_batch("evaluation", "demo-0001", {"evaluations": [evaluation]}, **made)
    return warehouse.path
