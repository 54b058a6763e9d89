"""`envloom domain`: a person adds a domain, is told what is wrong with it, and finds it among Dagster's partitions."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dagster_project.cli import app
from dagster_project.home import REPOSITORY, Home
from generators.hooked import load_hooks
from tests.generators.boats import PAGE, answer, record
from warehouse.warehouse import Warehouse

HOOKS = (REPOSITORY / "tests" / "generators" / "boat_hooks.py").read_text()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    (tmp_path / "domains").mkdir()
    monkeypatch.setenv("ENVLOOM_DOMAINS", str(tmp_path / "domains"))
    return Home.here().prepare()


@pytest.fixture
def boats(tmp_path: Path) -> Path:
    """The folder of a domain that is not in the repository."""
    folder = tmp_path / "domains" / "boats"
    folder.mkdir()
    (folder / "domain.yaml").write_text(PAGE)
    return folder


def domain(*words: str) -> Result:
    return CliRunner().invoke(app, ["domain", *words])


def checked(name: str = "boats") -> tuple[int, dict[str, list[dict[str, str]]]]:
    result = domain("check", name, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_a_domain_that_cannot_be_made_is_found_wrong_and_an_unknown_one_is_wrong_use(boats: Path) -> None:
    command = [sys.executable, "-m", "dagster_project.cli", "domain", "make"]
    run = subprocess.run([*command, boats.name], cwd=REPOSITORY, capture_output=True, text=True)
    assert run.returncode == 1
    assert "domain boats has no recording" in run.stderr
    assert domain("make", "boots").exit_code == 2


def said(findings: list[dict[str, str]]) -> str:
    return "\n".join(f"{each['where']}: {each['what']}. {each['remedy']}" for each in findings)


def test_a_new_domain_is_well_as_it_is_and_told_what_was_not_checked() -> None:
    made = json.loads(domain("new", "car_rental", "--hooks", "--json").stdout)
    assert [Path(file).name for file in made["files"]] == ["domain.yaml", "hooks.py"]
    code, report = checked("car_rental")
    assert code == 0
    assert (report["problems"], report["advice"]) == ([], [])
    assert {each["what"] for each in report["not_checked"]} >= {"tables", "wording", "proof"}
    assert all("envloom record car_rental" in each["why"] for each in report["not_checked"])


def test_a_name_that_is_taken_or_none_and_an_unknown_domain_are_wrong_use() -> None:
    assert domain("new", "library").exit_code == 2
    assert domain("new", "Car Rental").exit_code == 2
    result = domain("check", "libary")
    assert result.exit_code == 2
    assert "Did you mean library?" in result.output.replace("\n", " ")


def test_a_broken_page_is_found_wrong_without_a_model(boats: Path) -> None:
    (boats / "domain.yaml").write_text("title: Boats\nsizes: {row: 1}\n")
    code, report = checked()
    assert code == 1
    assert "description: is required" in said(report["problems"])
    assert "sizes.row: is unknown. Did you mean rows?" in said(report["problems"])


def test_broken_hooks_are_found_wrong_without_a_model(boats: Path) -> None:
    (boats / "hooks.py").write_text("class Boats: pass\n")
    code, report = checked()
    assert code == 1
    assert "Define one class derived from generators.hooks.Hooks" in said(report["problems"])


def test_without_a_recording_hooks_that_need_tables_are_said_to_be_unchecked(boats: Path) -> None:
    (boats / "hooks.py").write_text(HOOKS)
    code, report = checked()
    assert code == 0
    assert {"hooks.rows", "hooks.tools", "hooks.tasks"} <= {each["what"] for each in report["not_checked"]}


def test_a_recorded_domain_is_tried_out_on_five_proven_tasks(boats: Path) -> None:
    record(boats, "boats")
    code, report = checked()
    assert code == 0, report
    assert len(report["tasks"]) == 5
    assert all(task["golden"] for task in report["tasks"])
    assert report["not_checked"] == []
    shown = domain("check", "boats").stdout
    assert "rental: id, skipper_id, boat_id" in shown, "hooks are written against these"


def test_hooks_are_tried_out_with_their_tools_and_tasks(boats: Path) -> None:
    (boats / "hooks.py").write_text(HOOKS)
    record(boats, "boats", load_hooks("boats"))
    code, report = checked()
    assert code == 0, report
    assert any("quote_rental" in str(task["golden"]) for task in report["tasks"])
    assert any("of its own: extend_rental, quote_rental" in str(line) for line in report["lines"])


def test_what_the_recording_does_not_answer_is_found_wrong_with_what_to_do(boats: Path) -> None:
    record(boats, "boats")
    (boats / "domain.yaml").write_text(PAGE.replace("Harbour boats", "Harbour ships"))
    code, report = checked()
    assert code == 1
    assert "calls.jsonl: does not answer all that is asked" in said(report["problems"])
    assert "envloom record boats" in said(report["problems"])


@pytest.mark.parametrize(
    ("template", "text", "where", "remedy"),
    [
        ("columns", "{}", "entities", "a person with a name"),
        ("lifecycle", "{}", "rules", "from which status it moves to which"),
        ("values", "{}", "description", "two or three examples"),
        ("policy", "{}", "description", "who is served"),
    ],
)
def test_answers_that_cannot_be_used_are_said_of_the_field_to_change(
    boats: Path, monkeypatch: pytest.MonkeyPatch, template: str, text: str, where: str, remedy: str
) -> None:
    scripted(monkeypatch, lambda request: text if request.template == template else answer(request))
    code, report = checked_live(boats)
    assert code == 1
    assert [each["where"] for each in report["problems"]] == [where]
    assert template in report["problems"][0]["what"]
    assert remedy in report["problems"][0]["remedy"]


def test_an_entity_that_got_no_table_and_a_status_that_differs_are_told(
    boats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(request):  # type: ignore[no-untyped-def]
        asked = request.messages[1].content
        if request.template == "columns" and "\nTable boat:" in asked:
            return "{}"
        return answer(request).replace('"sailing"', '"afloat"')

    (boats / "domain.yaml").write_text(PAGE.replace("sailing", "afloat").replace("(booked, afloat", "(booked, sailing"))
    scripted(monkeypatch, answers)
    _, report = checked_live(boats)
    assert "entities.boat: no table came of it" in said(report["problems"])
    assert "entities.rental: its status has the values booked, afloat, returned, cancelled" in said(report["advice"])


def test_a_draft_that_fails_the_proof_is_told_with_the_check_and_the_remedy(boats: Path) -> None:
    (boats / "hooks.py").write_text(HOOKS.replace("cost me for {days} days", "cost me for some days"))
    record(boats, "boats", load_hooks("boats"))
    code, report = checked()
    assert code == 1
    assert "6 of 6 drafts fail discoverable" in said(report["problems"])
    assert "Name the argument in the instruction" in said(report["problems"])


def test_a_tool_that_no_task_can_use_is_advised(boats: Path) -> None:
    (boats / "hooks.py").write_text(HOOKS.replace("def tasks", "def later_tasks_"))
    record(boats, "boats", load_hooks("boats"))
    code, report = checked()
    assert code == 0
    assert "no task can use quote_rental" in said(report["advice"])


@pytest.mark.parametrize(
    ("old", "new", "method"),
    [
        ("context.rng.choice(COAST)", "random.SystemRandom().choice(COAST)", "rows"),
        ('"Extend one rental."', 'f"Extend one rental {random.SystemRandom().random()}."', "tools"),
        ("rng.randint(2, 12)", "random.SystemRandom().randint(2, 12)", "tasks"),
    ],
)  # fmt: skip
def test_hooks_that_give_something_else_each_time_are_found_wrong(
    boats: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, method: str
) -> None:
    assert old in HOOKS
    (boats / "hooks.py").write_text(HOOKS.replace(old, new))
    scripted(monkeypatch, answer)
    code, report = checked_live(boats)
    assert code == 1
    assert f"hooks.py: {method}: gives other" in said(report["problems"])


def scripted(monkeypatch: pytest.MonkeyPatch, answers: Callable[..., str]) -> None:
    """A live synthesist that answers from a script."""
    from dagster_project.synthesist import Synthesist
    from tests.generators.scripted import Scripted

    monkeypatch.setattr(Synthesist, "ledger", lambda *_: Scripted(answers))


def checked_live(boats: Path) -> tuple[int, dict[str, list[dict[str, str]]]]:
    result = domain("check", boats.name, "--live", "--json")
    return result.exit_code, json.loads(result.stdout)


def in_a_fresh_process(code: str) -> str:
    """What Dagster does when it reloads the code location: the definitions are read anew."""
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return run.stdout.strip().splitlines()[-1]


PARTITIONS = """
from dagster_project.definitions import defs
from dagster import AssetKey
node = defs.resolve_asset_graph().get(AssetKey("brief"))
print("boats" in node.partitions_def.get_partition_keys(), node.code_version)
"""


def test_a_new_folder_is_a_partition_after_a_reload_and_edited_hooks_are_new_code(tmp_path: Path) -> None:
    assert in_a_fresh_process(PARTITIONS).startswith("False")
    folder = tmp_path / "domains" / "boats"
    folder.mkdir()
    (folder / "domain.yaml").write_text(PAGE)
    (folder / "hooks.py").write_text(HOOKS)
    there, before = in_a_fresh_process(PARTITIONS).split()
    assert there == "True"
    (folder / "hooks.py").write_text(HOOKS.replace("Oslo", "Moss"))
    assert in_a_fresh_process(PARTITIONS) not in (f"True {before}", ""), "Dagster shows what was made as stale"


def test_a_domain_with_hooks_goes_through_dagster_and_its_lineage_names_the_hooks(boats: Path, home: Home) -> None:
    (boats / "hooks.py").write_text(HOOKS)
    hooks = load_hooks("boats")
    record(boats, "boats", hooks)
    # In a process of its own: this one has read its partitions already.
    command = [sys.executable, "-m", "dagster_project.cli", "domain", "make", "boats", "--json"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert json.loads(run.stdout)["n_proven_tasks"] > 20
    warehouse = Warehouse(home.warehouse, home.parts)
    own = warehouse.query(
        "SELECT t.id, t.shape FROM current_tasks t JOIN lineage l ON l.child_id = t.id "
        "WHERE t.asset = 'proven_tasks' AND l.parent_kind = 'hooks' AND l.parent_id = ?",
        [hooks.id],
    )
    assert set(own["shape"]) == {"quote_rental"}
    above = warehouse.query("SELECT child_kind FROM lineage WHERE parent_kind = 'hooks'")
    assert set(above["child_kind"]) == {"environment", "task"}
    kept = json.loads((home.artefacts / f"hooks-{hooks.id}.json").read_text())
    assert kept == {"hooks.py": HOOKS}


def test_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/adding-a-domain.md from top to bottom: files are written where their first line says, commands are run.

    Only `envloom record` is not: a model would have to answer. A recording of scripted answers takes its place.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    page = (REPOSITORY / "docs" / "adding-a-domain.md").read_text()
    recorded = 0
    for language, block in re.findall(r"^```(sh|yaml|python)\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        if language != "sh":
            (tmp_path / block.split("\n")[0].removeprefix("# ")).write_text(block)
        elif block == "envloom record boats\n":
            record(tmp_path / "domains" / "boats", "boats", load_hooks("boats"))
            recorded += 1
        else:
            subprocess.run(["bash", "-euo", "pipefail", "-c", block], check=True)
    assert recorded == 2
    assert json.loads(domain("check", "boats", "--json").stdout)["advice"] == []
    shapes = Warehouse(Home.here().warehouse, Home.here().parts).query(
        "SELECT shape FROM current_tasks WHERE asset = 'proven_tasks'"
    )["shape"]
    assert {"quote_rental", "extend_rental"} <= {tool for shape in shapes for tool in shape.split(" > ")}
