"""What people look at in the UI: funnels, samples and plots as metadata, and the outcome of asset checks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from envs.proof import Audit, CheckOutcome, Proof, Rate
from envs.proof.audit import BOUND
from envs.spec import EnvironmentSpec
from envs.task import Rejection, Task
from generators.brief import Brief
from generators.phrases import Phrasing
from serving.amounts import total
from serving.models import ResolvedModel
from trainer.rollout import Rollout
from warehouse.queries import history
from warehouse.queries.history import Evaluation
from warehouse.reports import plots
from warehouse.warehouse import Warehouse


def table(rows: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """Rows as a markdown table."""
    if not rows:
        return dg.MetadataValue.md("*none*")
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(_cell(row[name]) for name in names)} |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def brief(page: Brief) -> dict[str, Any]:
    """The brief as a page."""
    entities = "\n".join(f"- **{name}**: {hint}" for name, hint in page.entities.items()) or "*left open*"
    return {"page": dg.MetadataValue.md(f"## {page.title}\n\n{page.description}\n\n{entities}")}


def environment(spec: EnvironmentSpec, rejections: Sequence[Rejection]) -> dict[str, Any]:
    """Tables, tools and policy."""
    tables = [
        {"table": t.name, "rows": len(spec.rows[t.name]), "columns": ", ".join(f"{c.name} {c.type}" for c in t.columns)}
        for t in spec.tables
    ]
    tools = [{"tool": t.name, "writes": t.writes, "what it does": t.description} for t in spec.tools]
    return {
        "environment": spec.id,
        "tools": len(spec.tools),
        "rows": sum(len(rows) for rows in spec.rows.values()),
        "llm_calls": len(spec.made_from),
        "schema": table(tables),
        "toolset": table(tools),
        "policy": dg.MetadataValue.md(spec.policy),
        "refused": _reasons(rejections),
    }


def candidates(
    tasks: Sequence[Task], rejections: Sequence[Rejection], phrasings: Mapping[str, Phrasing]
) -> dict[str, Any]:
    """Candidate tasks with a sample of their wording."""
    return {
        "candidates": len(tasks),
        "phrased_tools": len(phrasings),
        "sample": table([{"request": t.instruction, "calls": t.difficulty} for t in tasks[:12]]),
        "refused": _reasons(rejections),
    }


def _reasons(rejections: Sequence[Rejection]) -> dg.MarkdownMetadataValue:
    counted = Counter((r.stage, r.reason) for r in rejections)
    return table([{"stage": s, "reason": r, "count": n} for (s, r), n in sorted(counted.items())])


def proofs(found: Sequence[Proof], accepted: Sequence[Task]) -> dict[str, Any]:
    """The funnel of the proof: per check how many candidates passed, and a sample of what was accepted."""
    names = [check.name for check in found[0].checks] if found else []
    outcomes = [
        {"check": name, **{str(o): sum(p.check(name).outcome is o for p in found) for o in CheckOutcome}}
        for name in names
    ]
    shapes = Counter(" > ".join(call.tool for call in task.golden) for task in accepted)
    return {
        "accepted": len(accepted),
        "rejected": len(found) - len(accepted),
        "proof": table(outcomes),
        "shapes": table([{"golden program": shape, "tasks": n} for shape, n in shapes.most_common(15)]),
        "sample": table(
            [
                {"request": t.instruction, "golden": " > ".join(c.tool for c in t.golden), "answer": t.golden_answer}
                for t in accepted[:12]
            ]
        ),
    }


def audited(found: Audit) -> dict[str, Any]:
    """How far the verifiers can be trusted, as measured."""
    return {
        "false_positive_rate": _share(found.rate("false_positive")),
        "false_negative_rate": _share(found.rate("false_negative")),
        "blocked_task_rate": found.blocked_rate,
        "tool_coverage": found.coverage,
        "audit": table(
            [
                {"fault": r.fault, "operator": r.operator, "trials": r.trials, "wrong": r.wrong, "at most": r.high}
                for r in found.rates
            ]
        ),
        "idle_tools": ", ".join(found.idle_tools) or "none",
    }


def _share(rate: Rate) -> str:
    share = rate.wrong / rate.trials if rate.trials else 0.0
    return f"{share:.2%} of {rate.trials} (95 %: {rate.low:.2%} to {rate.high:.2%})"


def proof_checks(spec: EnvironmentSpec, accepted: Sequence[Task], found: Audit) -> list[dg.AssetCheckResult]:
    """Asset checks on the proven tasks of one domain."""
    idle = [name for name in found.idle_tools if spec.tool(name).writes]
    return [
        dg.AssetCheckResult(
            passed=bool(accepted), check_name="some_tasks_are_proven", metadata={"accepted": len(accepted)}
        ),
        dg.AssetCheckResult(
            passed=found.discriminates,
            check_name="verifiers_discriminate",
            metadata={
                "false positives": _share(found.rate("false_positive")),
                "false negatives": _share(found.rate("false_negative")),
                "bound": BOUND,
                "judged wrongly": dg.MetadataValue.md("\n\n".join(found.evidence) or "nothing"),
            },
        ),
        dg.AssetCheckResult(
            passed=not idle,
            check_name="every_write_tool_is_exercised",
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"not exercised": ", ".join(idle) or "none"},
        ),
    ]


def model(found: ResolvedModel, path: str) -> dict[str, Any]:
    """The base model, and where it lies."""
    return {"model": found.name, "fingerprint": found.fingerprint, "path": dg.MetadataValue.path(path)}


_PLOTTED = (
    *("loss", "grad_norm", "entropy", "clipped_share", "ratio_p01", "ratio_p99", "kl_to_behaviour", "mismatch_mean"),
    *("trained_tokens", "seconds", "peak_memory_mib"),
)
"""Of a step's statistics; a warm start has fewer."""


def training_run(steps: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Statistics per optimizer step, as numbers and as a picture."""
    numbers = {k: v for k, v in (steps[-1] if steps else {}).items() if isinstance(v, int | float)}
    series = {name: [float(step[name]) for step in steps] for name in _PLOTTED if name in numbers}
    return {"steps": curves(series, "optimizer step"), "last_step": table([numbers]), **facts}


def rollouts(collected: Sequence[Rollout], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Outcomes of a collection, and two transcripts."""
    outcomes = Counter((r.domain, str(r.outcome), str(r.stop_reason)) for r in collected)
    solved = sum(r.solved for r in collected)
    return {
        **facts,
        "rollouts": len(collected),
        "solved": solved,
        "success": solved / len(collected) if collected else 0.0,
        "cost_usd": total(r.cost_usd for r in collected),
        "completion_tokens": sum(r.completion_tokens for r in collected),
        "outcomes": table(
            [{"domain": d, "outcome": o, "ended by": s, "rollouts": n} for (d, o, s), n in sorted(outcomes.items())]
        ),
        "transcripts": dg.MetadataValue.md("\n\n".join(_transcript(r) for r in _one_of_each(collected))),
    }


def _one_of_each(collected: Sequence[Rollout]) -> list[Rollout]:
    first = {r.outcome: r for r in reversed(collected)}
    return list(first.values())


def _transcript(rollout: Rollout) -> str:
    lines = [f"**{rollout.outcome}** ({rollout.stop_reason}), task `{rollout.task_id[:12]}`"]
    for turn in rollout.turns:
        lines.append(f"> {turn.text}")
        lines += [f"> `{r.value if r.ok else r.error}`"[:300] for r in turn.results]
        lines += [f"> user: {turn.reply}"] * (turn.reply is not None)
    return "\n>\n".join([*lines, *(f"*{reason}*" for reason in rollout.reasons[:3])])


def evaluation(warehouse: Warehouse, campaign: str, collected: Sequence[Rollout]) -> dict[str, Any]:
    """How the policies of a campaign stand, with what `collected` adds to it, once it is stored: tables and plots."""
    found = history.evaluations(warehouse, campaign)
    test, trained = history.whole(found, "test"), history.training(warehouse, campaign)
    shown = {
        "held_out": table([_held_out(one) for one in history.whole(found)]),
        "by_domain": table([_held_out(one) for one in found if one.summary.scope != history.ALL]),
        "preferences": table([_adherence(one) for one in found if one.summary.adherence]),
        "cost_accuracy": _picture(plots.cost_accuracy(plots.points(test))),
        "transcripts": dg.MetadataValue.md("\n\n".join(_transcript(r) for r in _one_of_each(collected))),
    }
    if trained:
        curves = plots.learning_curves(test, trained)
        shown |= {f"learning/{name}": _picture(figure) for name, figure in curves.items()}
        shown["reward_components"] = _picture(plots.reward_components(history.components(warehouse, campaign), trained))
    return shown


def _held_out(one: Evaluation) -> dict[str, Any]:
    met = one.summary
    row = {"policy": one.policy, "split": met.split}
    row |= {} if met.scope == history.ALL else {"domain": met.scope}
    judged = {
        "success": f"{met.success:.2f} ({met.success_low:.2f} – {met.success_high:.2f})",
        "cost / rollout, USD": _about(met.cost_usd_mean, met.cost_usd_interval),
        "latency, s": _about(met.latency_s_mean, met.latency_s_interval),
        "turns": _about(met.turns_mean, met.turns_interval),
    }
    shown = judged if met.n else dict.fromkeys(judged, "")
    experts = "simulated" if met.simulated_experts else ""
    return {**row, "n": "empty" if met.empty else met.n, **shown, "experts": experts}


def _about(mean: float, bounds: tuple[float, float] | None) -> str:
    """A mean with its interval, in one cell: side by side they make a table wider than the page."""
    return f"{mean:.3g} ({_interval(bounds)})"


def _adherence(one: Evaluation) -> dict[str, Any]:
    met = one.summary.adherence
    assert met is not None
    return {
        "policy": one.policy,
        "experts": "simulated" if one.summary.simulated_experts else "",
        "split": one.summary.split,
        "n": met.n,
        "solved": met.solved,
        "score": met.score_mean,
        "base model's": met.base_score_mean,
        "gain": met.gain_mean,
        "gain, interval": _interval(met.gain_interval),
    }


def _interval(bounds: tuple[float, float] | None) -> str:
    return f"{bounds[0]:.3g} – {bounds[1]:.3g}" if bounds else "unknown"


def curves(series: Mapping[str, Sequence[float]], xlabel: str) -> dg.MarkdownMetadataValue:
    """One small plot per series, two beside each other: more is wider than Dagster shows."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = (len(series) + 1) // 2
    figure = Figure(figsize=(6.8, 2.4 * max(1, rows)), layout="constrained")
    for place, (name, values) in enumerate(series.items(), start=1):
        axes = figure.add_subplot(rows, 2, place)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.plot(range(1, len(values) + 1), values, marker="o", markersize=3)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(xlabel, fontsize=8)
        axes.grid(alpha=0.3)
    return _picture(figure)


def _picture(figure: Any) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![plot]({plots.as_png(figure)})")
