"""The proof as a whole: right tasks pass it, alike each time; a policy says what a failure means."""

from collections.abc import Iterator

import pytest

from envs.environment import Environment
from envs.proof import CHECKS, POLICY, prove
from tests.envs.proofs import account_spec
from tests.fixtures import call, make_task, shop_spec, shop_tasks


@pytest.fixture(scope="module")
def shop() -> Iterator[Environment]:
    environment = Environment.load(shop_spec())
    yield environment
    environment.close()


def test_every_task_of_the_shop_is_proven(shop: Environment) -> None:
    for task in shop_tasks(shop):
        proof = prove(task, shop)
        assert proof.accepted, proof.rejected_by
        assert [check.name for check in proof.checks] == [check.name for check in CHECKS]
        assert all(check.evidence for check in proof.checks)


def test_a_proof_is_the_same_each_time(shop: Environment) -> None:
    task = shop_tasks(shop)[4]
    assert prove(task, shop) == prove(task, Environment.load(shop_spec()))


def test_a_failed_check_rejects_only_if_the_policy_says_so(shop: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = [call("get_order", order_id="ORD-1"), call("cancel_order", order_id="ORD-1")]
    proof = prove(make_task(shop, "Look at order ORD-1 and cancel it.", golden), shop)
    assert not proof.accepted
    monkeypatch.setitem(POLICY, "minimal", "label")
    assert proof.accepted


def test_the_policy_names_every_check() -> None:
    assert set(POLICY) == {check.name for check in CHECKS}


def test_a_task_of_another_environment_is_not_judged_here(shop: Environment) -> None:
    with pytest.raises(ValueError, match="belongs to environment"):
        prove(shop_tasks(shop)[0], Environment.load(account_spec()))
