"""The proof of one environment's candidates and the audit of its verifiers: what `proven_tasks` and `prove` both do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envs.environment import Environment
from envs.proof import Audit, CheckOutcome, HeldOut, HeldOutRequest, Known, Proof, audit, prove
from envs.task import Rejection, Task

BLOCKING = ("golden_executes", "deterministic", "discoverable")
"""A candidate that fails one of these cannot be solved by any policy."""


@dataclass(frozen=True)
class Proven:
    """The candidates of one environment after the proof."""

    proofs: list[Proof]
    """In the order of the candidates."""
    accepted: list[Task]
    repeated: int
    """Candidates that repeat one accepted before them."""
    audit: Audit

    def rejections(self, domain: str) -> list[Rejection]:
        """One per rejected candidate, by the first check that rejects it."""
        return [_rejection(domain, proof) for proof in self.proofs if not proof.accepted]


def prove_all(environment: Environment, candidates: Sequence[Task], held_out: Iterable[HeldOutRequest] = ()) -> Proven:
    """Prove every candidate, each also against those accepted before it, and audit the accepted ones' verifiers."""
    known = Known(HeldOut(held_out))
    proofs, accepted, repeated = [], [], 0
    for task in candidates:
        repeated += known.repeated_by(task) is not None
        proofs.append(prove(task, environment, known))
        if proofs[-1].accepted:
            accepted.append(task)
            known.add(task)
    blocked = sum(any(_failed(proof, name) for name in BLOCKING) for proof in proofs)
    found = audit(environment, accepted, candidates=len(candidates), blocked=blocked)
    return Proven(proofs, accepted, repeated, found)


def _failed(proof: Proof, name: str) -> bool:
    return proof.check(name).outcome is CheckOutcome.FAILED


def _rejection(domain: str, proof: Proof) -> Rejection:
    failed = [proof.check(name) for name in proof.rejected_by]
    return Rejection(
        domain=domain,
        stage="proof",
        reason=failed[0].name,
        detail="; ".join(f"{check.name}: {check.evidence}" for check in failed),
        subject=proof.task_id,
    )
