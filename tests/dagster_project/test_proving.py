"""The proof as people meet it: the command, and the asset check that guards a dataset."""

import json
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from dagster_project.cli import app
from dagster_project.home import Home
from dagster_project.record import consume
from dagster_project.report import proof_checks
from envs.environment import Environment
from envs.proof import POLICY, Audit, audit
from envs.proof.prove_all import prove_all
from envs.task import Task, ToolCall
from envs.verdict import Verdict
from tests.fixtures import shop_spec, shop_tasks
from warehouse.queries.lookup import find_environment
from warehouse.rows.tasks import read_tasks
from warehouse.warehouse import Warehouse


@pytest.fixture(autouse=True)
def _home(library_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(library_home.root))


@pytest.fixture
def warehouse(library_home: Home) -> Warehouse:
    return Warehouse(library_home.warehouse, library_home.parts)


def blind(self: Environment, task: Task, calls: Sequence[ToolCall], _answer: str) -> Verdict:
    """A verifier that never reads the answer."""
    return honest(self, task, calls, task.golden_answer)


honest = Environment.judge


def test_proving_a_domain_shows_checks_rates_and_coverage() -> None:
    run = CliRunner().invoke(app, ["prove", "library"])
    assert run.exit_code == 0, run.output
    for word in ("accepts_alternative", "swap_entity", "false positive", "blocked tasks", "tool coverage"):
        assert word in run.output


def test_proving_exits_with_1_when_the_verifiers_do_not_discriminate(monkeypatch: pytest.MonkeyPatch) -> None:
    # The proof would reject what such verifiers judge wrongly: here it is switched off, the audit is not.
    monkeypatch.setattr(Environment, "judge", blind)
    monkeypatch.setattr("envs.proof.POLICY", dict.fromkeys(POLICY, "label"))
    run = CliRunner().invoke(app, ["prove", "library", "--json"])
    found = json.loads(run.stdout)
    assert run.exit_code == 1 and found["rates"][0]["wrong"] > 0


def test_an_unknown_environment_is_wrong_use() -> None:
    run = CliRunner().invoke(app, ["prove", "nowhere"])
    assert run.exit_code == 2 and "library" in run.stderr


def test_what_the_audit_measured_is_in_the_warehouse(warehouse: Warehouse) -> None:
    rows = warehouse.query(
        "SELECT fault, trials, wrong, high FROM current_audits WHERE operator = 'all' ORDER BY fault"
    )
    assert rows["fault"].to_list() == ["false_negative", "false_positive"]
    assert rows["wrong"].sum() == 0 and rows["trials"].min() > 100 and rows["high"].max() < 0.02


def passes(environment: Environment, tasks: list[Task], found: Audit) -> dict[str | None, bool]:
    return {check.check_name: check.passed for check in proof_checks(environment.spec, tasks, found)}


def test_the_check_fails_when_verifiers_are_wrong(monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse) -> None:
    library = Environment.load(find_environment(warehouse, "library"))
    tasks = read_tasks(warehouse, consume(warehouse, "proven_tasks", "library"))
    right = audit(library, tasks, candidates=len(tasks), blocked=0)
    assert passes(library, tasks, right)["verifiers_discriminate"]
    monkeypatch.setattr(Environment, "judge", blind)
    wrong = audit(library, tasks, candidates=len(tasks), blocked=0)
    assert not passes(library, tasks, wrong)["verifiers_discriminate"]


def test_the_checks_fail_when_too_little_was_tried_to_be_sure() -> None:
    shop = Environment.load(shop_spec())
    few = prove_all(shop, shop_tasks(shop))
    assert not passes(shop, few.accepted, few.audit)["verifiers_discriminate"]
    none = prove_all(shop, [])
    assert not passes(shop, none.accepted, none.audit)["some_tasks_are_proven"]
