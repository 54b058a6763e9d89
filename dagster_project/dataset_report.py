"""What people look at of a dataset: what it holds, how diverse it is, what was left out, how hard it is."""

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.report import table
from envs.difficulty import Difficulty
from envs.diversity import Diversity
from envs.task import Task
from generators.dataset import Dataset
from generators.splits import UNSEEN
from warehouse.queries.funnel import measure
from warehouse.warehouse import Warehouse

MINIMUM_TRAIN_TASKS = 8


def dataset(found: Dataset) -> dict[str, Any]:
    """Counts by domain and split, what was left out and why, and what repeats which line of a held-out set."""
    where = {split.task_id: split.split for split in found.splits}
    counted = Counter((task.domain, where[task.id]) for task in found.tasks)
    left_out = Counter((rejection.domain, rejection.reason) for rejection in found.rejections)
    return {
        "tasks": len(found.tasks),
        "left_out": len(found.rejections),
        "by_domain_and_split": table([{"domain": d, "split": s, "tasks": n} for (d, s), n in sorted(counted.items())]),
        "by_calls": table(
            [{"golden calls": n, "tasks": c} for n, c in sorted(Counter(t.difficulty for t in found.tasks).items())]
        ),
        "left_out_because": table(
            [{"domain": d, "reason": reason, "tasks": n} for (d, reason), n in sorted(left_out.items())]
        ),
        "contaminated": table(
            [
                {"held out in": c.source, "by": c.reason, "share": c.share, "request": task.instruction}
                for task, c in sorted(found.contaminated, key=lambda pair: (pair[1].source, pair[0].id))
            ]
        ),
    }


def held_out(files: Sequence[Path]) -> dict[str, Any]:
    """The held-out sets that were looked at, by content: a file of the same name may say something else tomorrow."""
    return {"held_out": table([{"file": str(file), "sha256": sha256(file.read_bytes()).hexdigest()} for file in files])}


def dataset_check(found: Dataset, unproven: Sequence[str]) -> dg.AssetCheckResult:
    """Whether training may begin: enough tasks, every one proven, no request on both sides."""
    where = {split.task_id: split.split for split in found.splits}
    train = {task.instruction for task in found.tasks if where[task.id] == "train"}
    leaked = [t.id for t in found.tasks if where[t.id] != "train" and t.instruction in train]
    return dg.AssetCheckResult(
        check_name="fit_to_train_on",
        passed=len(train) >= MINIMUM_TRAIN_TASKS and not leaked and not unproven,
        metadata={
            "train requests": len(train),
            "requests on both sides": len(leaked),
            "unproven": len(unproven),
            "unseen": sum(split.split in UNSEEN for split in found.splits),
        },
    )


def diversity(measured: Sequence[Diversity]) -> dict[str, Any]:
    """The figures of the first scope as numbers, which the UI plots over time, and of all as a table."""
    first = measured[0]
    return {
        "distinct_shapes": first.distinct_shapes,
        "tool_bigram_entropy_bits": first.tool_bigram_entropy_bits,
        "lexical_diversity": first.lexical_diversity,
        "repeated_share": first.repeated_share,
        "diversity": table(
            [
                {
                    "scope": found.scope,
                    "tasks": found.tasks,
                    "distinct golden shapes": found.distinct_shapes,
                    "entropy of tool bigrams, bits": found.tool_bigram_entropy_bits,
                    "tool coverage": found.tool_coverage,
                    "lexical diversity (HD-D)": found.lexical_diversity,
                    "near-duplicates taken out": found.repeated_share,
                }
                for found in measured
            ]
        ),
    }


def funnel(warehouse: Warehouse, domain: str) -> dict[str, Any]:
    """What `proven_tasks` shows of the way to its tasks, once its own batch is stored."""
    found = measure(warehouse, [domain])
    cost = found["costs"][0] if found["costs"] else {}
    shown = {f"per task/{name}": cost.get(f"{name}_per_task") for name in ("calls", "tokens", "seconds", "usd")}
    return {
        "funnel": table(_without_domain(found["stages"])),
        "rejected": table(_without_domain(found["reasons"])),
        **{name: "unknown" if value is None else value for name, value in shown.items()},
    }


def _without_domain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "domain"} for row in rows]


def difficulty(measured: Sequence[Difficulty], tasks: Sequence[Task]) -> dict[str, Any]:
    """How many tasks of each length the reference policy solves always, sometimes and never, and their mean pass@k."""
    calls = {task.id: task.difficulty for task in tasks}
    ordered = sorted(measured, key=lambda found: calls[found.task_id])
    rows = []
    for length, group in groupby(ordered, key=lambda found: calls[found.task_id]):
        found = list(group)
        known = [one.pass_at_k for one in found if one.pass_at_k is not None]
        rows.append(
            {
                "golden calls": length,
                "tasks": len(found),
                "always solved": sum(one.attempts > 0 and one.solved == one.attempts for one in found),
                "sometimes": sum(0 < one.solved < one.attempts for one in found),
                "never": sum(one.solved == 0 for one in found),
                "mean pass@k": sum(known) / len(known) if known else "unknown",
            }
        )
    return {"measured": len(measured), "by_calls": table(rows)}
