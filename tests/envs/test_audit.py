"""The audit measures what verifiers get wrong, and says so when they do."""

import pytest

from envs.environment import Environment, Replay
from envs.episode import verdict_on
from envs.proof import Audit, audit
from envs.task import Task
from envs.verdict import Outcome, Verdict
from tests.fixtures import shop_spec, shop_tasks


class LooksAtTheCallsOnly(Environment):
    """A verifier that never reads the answer."""

    def judge_replay(self, task: Task, replay: Replay, answer: str) -> Verdict:  # noqa: ARG002
        return super().judge_replay(task, replay, task.golden_answer)


class IgnoresCollateral(Environment):
    """A verifier that looks whether the goal's changes are there, and at nothing else."""

    def judge_replay(self, task: Task, replay: Replay, answer: str) -> Verdict:
        made = tuple(change for change in replay.changeset if change in task.goal.changeset)
        return verdict_on(task, made, answer, self.spec.clock)


class WantsNoReads(Environment):
    """A verifier that fails whoever looks first."""

    def judge_replay(self, task: Task, replay: Replay, answer: str) -> Verdict:
        reads = [call for call in replay.calls if not self.spec.tool(call.tool).writes]
        golden_reads = [call for call in task.golden if not self.spec.tool(call.tool).writes]
        if len(reads) > len(golden_reads):
            return Verdict(outcome=Outcome.FAILED, reasons=("too many reads",))
        return super().judge_replay(task, replay, answer)


def audited(kind: type[Environment]) -> Audit:
    environment = kind.load(shop_spec())
    tasks = shop_tasks(environment)
    return audit(environment, tasks, candidates=len(tasks) + 1, blocked=1)


def test_the_shops_verifiers_are_never_wrong_and_the_rates_say_how_sure_that_is() -> None:
    found = audited(Environment)
    wrong, missed = found.rate("false_positive"), found.rate("false_negative")
    assert (wrong.wrong, missed.wrong) == (0, 0) and found.evidence == ()
    assert wrong.trials > 30 and missed.trials > 10
    # Seven tasks are too few to be sure of two per cent.
    assert wrong.high > 0.02 and not found.discriminates
    assert found.blocked_rate == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("verifier", "fault", "operators"),
    [
        (LooksAtTheCallsOnly, "false_positive", {"omit_fact", "alter_fact"}),
        (IgnoresCollateral, "false_positive", {"extra_write", "duplicate"}),
        (WantsNoReads, "false_negative", {"redundant_read"}),
    ],
)
def test_a_faulty_verifier_is_found_and_its_fault_named(verifier, fault, operators) -> None:
    found = audited(verifier)
    faulty = {rate.operator for rate in found.rates if rate.fault == fault and rate.wrong} - {"all"}
    assert faulty and faulty <= operators
    assert found.rate(fault).low > 0 and not found.discriminates
    assert found.evidence and "is judged" in found.evidence[0]


def test_an_audit_repeats() -> None:
    assert audited(Environment) == audited(Environment)


def test_tools_that_no_task_needs_are_named() -> None:
    found = audited(Environment)
    assert set(found.idle_tools) == {"get_order"}
    assert found.coverage == pytest.approx(7 / 8)
