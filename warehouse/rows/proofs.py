"""Proofs and audits as rows: one per check, one per measured rate."""

from collections.abc import Iterable
from typing import Any

from envs.proof import Audit, Proof


def check_rows(proofs: Iterable[Proof], environment_id: str) -> list[dict[str, Any]]:
    """One row per check of a proof."""
    return [
        {
            "id": f"{proof.task_id}.{check.name}",
            "task_id": proof.task_id,
            "environment_id": environment_id,
            "name": check.name,
            "outcome": str(check.outcome),
            "evidence": check.evidence,
        }
        for proof in proofs
        for check in proof.checks
    ]


def audit_rows(audit: Audit) -> list[dict[str, Any]]:
    """One row per measured rate of an environment's verifiers; each holds the whole audit."""
    return [
        {
            "id": f"{audit.id}.{rate.fault}.{rate.operator}",
            "environment_id": audit.environment_id,
            "domain": audit.domain,
            **rate.model_dump(),
            "record": audit.canonical(),
        }
        for rate in audit.rates
    ]
