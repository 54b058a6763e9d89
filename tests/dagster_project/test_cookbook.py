"""A played campaign asked in SQL and by its lineage: the queries of the document, `envloom query` and `lineage`."""

import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from PIL import Image
from typer.testing import CliRunner

from dagster_project.cli import app
from dagster_project.commands import query
from dagster_project.home import Home
from dagster_project.lineage_mermaid import mermaid
from dagster_project.lineage_picture import shown_lineage
from dagster_project.runtime import runtime_row
from serving.models import ResolvedModel
from tests.dagster_project.played import play, store
from trainer.conversation import load_tokenizer
from warehouse.lineage import Edge, Lineage, Link, Node, trace
from warehouse.queries.lineage_fold import fold, fold_to_fit
from warehouse.tables import TABLES
from warehouse.warehouse import Warehouse

DOCUMENT = (Path(__file__).parents[2] / "docs" / "warehouse.md").read_text()
COOKBOOK = dict(re.findall(r"^([^\n]+)\n```sql\n(.+?)```", DOCUMENT, flags=re.DOTALL | re.MULTILINE))
STEP = {"campaign": "bold", "iteration": 40, "before": "calm", "after": "bold"}
runner = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, smollm2: ResolvedModel) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    home.parts.mkdir()
    warehouse = play(home, load_tokenizer(smollm2.path))
    _synthesis(warehouse)
    for campaign, rate, solved in (("calm", 1e-5, 1.0), ("bold", 3e-4, 2.0)):
        _step(warehouse, campaign, rate, solved)
    return home


@pytest.fixture(autouse=True)
def _here(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVLOOM_HOME", str(home.root))


@pytest.fixture
def warehouse(home: Home) -> Warehouse:
    return Warehouse(home.warehouse, home.parts)


def _synthesis(warehouse: Warehouse) -> None:
    """How the played tasks might have come to be: one call for the environment, two versions of a prompt."""
    calls: list[dict[str, Any]] = [
        {"id": name, "template": template, "template_sha256": sha, "model": model, "seed": 1, "prompt_tokens": 100}
        | {"completion_tokens": 20, "seconds": 2.0, "cost_usd": cost, "record": {"request": {"messages": [1, 2]}}}
        for name, template, sha, model, cost in (
            ("call-tables", "columns", "sha-columns", "small", 0.001),
            ("call-old", "phrases", "sha-old", "small", 0.001),
            ("call-new", "phrases", "sha-new", "large", 0.02),
        )
    ]
    tasks = warehouse.query("SELECT * FROM tasks ORDER BY id").to_dicts()
    tasks.append(tasks[0] | {"id": "hard", "instruction": "Do what nobody did."})
    (failed,) = warehouse.query("SELECT * FROM rollouts WHERE outcome = 'failed' ORDER BY id LIMIT 1").to_dicts()
    store(warehouse, "rollouts", "told-0001", {"rollouts": [failed | {"id": "r-hard", "task_id": "hard"}]})
    (environment,) = warehouse.query("SELECT * FROM environments").to_dicts()
    told = [Edge("llm_call", "call-tables", "environment", environment["id"], "wrote_columns")]
    store(warehouse, "environment", "shop", {"environments": [environment], "llm_calls": calls[:1]}, told)
    solved = set(warehouse.query("SELECT task_id FROM task_outcomes WHERE solved > 0")["task_id"])
    worded = [
        Edge("llm_call", "call-new" if task["id"] in solved else "call-old", "task", task["id"], "worded")
        for task in tasks
    ]
    refused = {"id": "no", "domain": "shop", "stage": "proof", "reason": "minimal", "detail": "x", "record": {}}
    store(warehouse, "candidate_tasks", "shop", {"tasks": tasks, "llm_calls": calls[1:]}, worded)
    checks = [
        {"id": f"{task['id']}.minimal", "task_id": task["id"], "environment_id": environment["id"], "name": "minimal"}
        | {"outcome": "passed"}
        for task in tasks
    ]
    store(warehouse, "proven_tasks", "shop", {"tasks": tasks, "checks": checks, "rejections": [refused]})


def _step(warehouse: Warehouse, campaign: str, learning_rate: float, scale: float) -> None:
    """An update 40 on the played rollouts: those that solved their task are pushed up, the others down."""
    rollouts = warehouse.query("SELECT id, solved FROM rollouts ORDER BY id").to_dicts()
    trained = {"campaign": campaign, "iteration": 40, "config": {"learning_rate": learning_rate, "epochs": 1}}
    update = {"id": f"{campaign}-u", "kind": "grpo", "parent_checkpoint": "update-policy", **trained}
    made = {"id": f"{campaign}-40", "kind": "update", "parent_id": "update-policy", "code_version": "c0ffee", **trained}
    rewards = [
        {"update_id": update["id"], "rollout_id": row["id"], "components": {"outcome": float(row["solved"])}}
        | {"reward": float(row["solved"]), "advantage": scale if row["solved"] else -scale, "status": "trained"}
        for row in rollouts
    ]
    tables = {"updates": [update | {"checkpoint_id": made["id"]}], "checkpoints": [made], "rewards": rewards}
    runtime = runtime_row("c0ffee+dirty")
    warehouse.record_batch(
        "checkpoint", f"{campaign}-0040", _filled(tables), run_id="run-40", code_version="c0ffee+dirty", runtime=runtime
    )


def _filled(tables: dict[str, Any]) -> dict[str, Any]:
    return {name: [dict.fromkeys(TABLES[name].columns) | row for row in rows] for name, rows in tables.items()}


def answer(warehouse: Warehouse, question: str) -> list[dict[str, Any]]:
    (sql,) = [sql for asked, sql in COOKBOOK.items() if asked.startswith(question)]
    return warehouse.query(sql, {name: value for name, value in STEP.items() if f"${name}" in sql} or None).to_dicts()


@pytest.mark.parametrize("question", COOKBOOK)
def test_every_query_of_the_cookbook_has_an_answer(warehouse: Warehouse, question: str) -> None:
    assert answer(warehouse, question)


def test_a_step_is_told_by_task_prompt_version_and_advantage(warehouse: Warehouse) -> None:
    rows = answer(warehouse, "Which tasks, from which prompt version")
    assert {(row["advantage"], row["template_sha256"]) for row in rows} >= {(2.0, "sha-new"), (-2.0, "sha-old")}
    assert {row["llm_call_id"] for row in rows} == {"call-old", "call-new"}


def test_calls_whose_tasks_nobody_solved_are_named(warehouse: Warehouse) -> None:
    rows = answer(warehouse, "Which LLM calls produced tasks")
    assert [(row["llm_call_id"], row["template_sha256"]) for row in rows] == [("call-old", "sha-old")]


def test_a_task_costs_what_its_calls_cost_shared_by_the_accepted(warehouse: Warehouse) -> None:
    (tasks,) = warehouse.query("SELECT accepted FROM funnel WHERE stage = 'proof'")["accepted"]
    found = {row["model"]: row["usd_per_task"] for row in answer(warehouse, "What does an accepted task cost")}
    assert found == {"small": pytest.approx(0.002 / tasks), "large": pytest.approx(0.02 / tasks)}


def test_the_reward_of_a_tool_is_the_mean_over_rollouts_that_called_it(warehouse: Warehouse) -> None:
    rows = {row["tool"]: row for row in answer(warehouse, "What reward do rollouts get")}
    some = rows["get_order"]
    told = warehouse.query(
        "SELECT avg(w.reward) AS reward FROM rewards w JOIN turns t USING (rollout_id) "
        "JOIN rollouts r ON r.id = w.rollout_id WHERE r.outcome <> 'environment_error' AND rollout_id IN "
        "(SELECT rollout_id FROM turns WHERE calls LIKE '%\"get_order\"%') AND t.turn = 0"
    )
    assert some["reward"] == pytest.approx(told["reward"].item())


def test_gradient_is_shared_out_to_environments(warehouse: Warehouse) -> None:
    (row,) = answer(warehouse, "Which environments contributed")
    tokens = warehouse.query("SELECT sum(completion_tokens) AS n FROM trained_rollouts WHERE campaign = 'bold'")
    assert (row["domain"], row["share"], row["pull"]) == ("shop", 1.0, 2 * tokens["n"].item())


def test_two_campaigns_differ_in_what_was_changed_and_in_nothing_else(warehouse: Warehouse) -> None:
    rows = answer(warehouse, "What changed between two campaigns")
    assert [(row["setting"], float(row["before"]), float(row["after"])) for row in rows] == [
        ("update.learning_rate", 1e-5, 3e-4)
    ]


def test_query_prints_tables_json_and_csv_and_takes_values(tmp_path: Path) -> None:
    sql = "SELECT campaign, config::JSON ->> '$.epochs' AS epochs FROM updates WHERE iteration = $step ORDER BY ALL"
    asked = runner.invoke(app, ["query", sql, "--set", "step=40", "--json"])
    assert json.loads(asked.stdout) == [{"campaign": name, "epochs": "1"} for name in ("bold", "calm")]
    (tmp_path / "asked.sql").write_text(sql)
    told = runner.invoke(app, ["query", "--file", str(tmp_path / "asked.sql"), "--set", "step=40", "--csv"])
    assert told.stdout.splitlines() == ["campaign,epochs", "bold,1", "calm,1"]
    piped = runner.invoke(app, ["query", "--rows", "1"], input="SELECT unnest([7, 8]) AS n, {'a': [1]} AS s, NULL AS x")
    assert "7" in piped.stdout and '{"a": [1]}' in piped.stdout and "1 more rows" in piped.stderr
    listed = runner.invoke(app, ["query"], input="")
    assert "trained_rollouts" in listed.stdout and "batch_tasks" not in listed.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["SELECT nothing FROM tasks"], 1, 'column "nothing" not found'),
        (["DELETE FROM tasks"], 2, "read-only"),
        (["SELECT 1; SELECT 2"], 2, "one SELECT at a time"),
        (["COPY (SELECT 1) TO '/tmp/copy.csv'"], 2, "read-only"),
        (["EXPORT DATABASE '/tmp/database'"], 2, "read-only"),
        (["SET enable_external_access = true"], 2, "read-only"),
        (["EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/copy.csv'"], 1, "disabled"),
        (["SELECT * FROM read_text('/etc/passwd')"], 1, "disabled"),
        (["SELECT * FROM '/etc/passwd'"], 1, "does not exist"),
        (["SELECT * FROM glob('/etc/*')"], 1, "disabled"),
        (["SELECT * FROM read_csv('http://127.0.0.1:1/x')"], 1, "disabled"),
        (["SELECT * FROM parameters"], 1, "does not exist"),
        (["SELECT $x", "--set", "x"], 2, "name=value"),
        (["SELECT 1", "--file", __file__], 2, "not both"),
    ],
)
def test_a_wrong_question_ends_with_one_message(words: list[str], code: int, said: str) -> None:
    result = runner.invoke(app, ["query", *words])
    assert result.exit_code == code and said in result.stderr and "Traceback" not in result.stderr


def test_json_is_json_with_every_column_and_digit() -> None:
    sql = (
        "SELECT 'NaN'::DOUBLE AS a, '-Infinity'::FLOAT AS b, 1 AS a, 2 AS a_1, "
        "['NaN'::DOUBLE, 0.1] AS c, MAP {1: 2} AS d, "
        "12345678901234567890.123456789::DECIMAL(38, 9) AS e, 'x'::BLOB AS f, TIMESTAMP '2026-01-02 03:04:05' AS g"
    )
    text = runner.invoke(app, ["query", "--json", sql]).stdout

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    (row,) = json.loads(text, parse_constant=refuse, parse_float=Decimal)
    assert row == {
        "a": None, "b": None, "a_2": 1, "a_1": 2, "c": [None, Decimal("0.1")], "d": {"1": 2},
        "e": Decimal("12345678901234567890.123456789"), "f": "78", "g": "2026-01-02T03:04:05",
    }  # fmt: skip


def test_csv_has_every_digit_and_plain_line_ends() -> None:
    numbers = "SELECT 1234567.891::DOUBLE AS v, 0.000123456789::DOUBLE AS w"
    sql = f"{numbers}, 'a,\"b\"' AS t, [1, NULL] AS l, true AS b, NULL AS n"
    text = runner.invoke(app, ["query", "--csv", sql]).stdout_bytes
    assert text == b'v,w,t,l,b,n\n1234567.891,0.000123456789,"a,""b""","[1, null]",true,\n'


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("INTERVAL '1 year 1 month 3.5 seconds'", "1 year 1 month 00:00:03.5"),
        ("[INTERVAL '-5 us', NULL]", ["-00:00:00.000005", None]),
        ("{'INTERVAL': INTERVAL '1 month'}", {"INTERVAL": "1 month"}),
        ("TIMESTAMP_NS '2026-01-01 00:00:00.123456789'", "2026-01-01 00:00:00.123456789"),
        ("DATE 'infinity'", "infinity"),
        ("TIMESTAMP '-infinity'", "-infinity"),
        ("DATE '9999-12-31'", "9999-12-31"),
        ("TIMESTAMPTZ 'infinity'", "infinity"),
    ],
)
def test_what_python_has_no_value_for_is_written_as_duckdb_does(expression: str, value: object) -> None:
    asked = runner.invoke(app, ["query", "--json", f"SELECT {expression} AS x, 1 AS n, 2 AS n; -- twice"])
    assert json.loads(asked.stdout) == [{"x": value, "n": 1, "n_1": 2}]


def test_csv_is_read_back_by_others_whatever_a_text_holds() -> None:
    sql = "SELECT 'a' || chr(13) || 'b' AS a, '' AS b, NULL AS c, 'x,\"y\"' AS d, chr(10) AS e"
    text = runner.invoke(app, ["query", "--csv", sql]).stdout_bytes
    assert text == b'a,b,c,d,e\n"a\rb","",,"x,""y""","\n"\n'
    (row,) = duckdb.read_csv(io.BytesIO(text), all_varchar=True, allow_quoted_nulls=False).fetchall()
    assert row == ("a\rb", "", None, 'x,"y"', "\n")


@pytest.mark.parametrize("value", ["--5", "9" * 5000, "²", "٣", "-", ""])
def test_a_value_that_is_no_plain_number_is_text(value: str) -> None:
    asked = runner.invoke(app, ["query", "SELECT $n AS n", "--json", "--set", f"n={value}"])
    assert json.loads(asked.stdout) == [{"n": value}]


def test_sql_that_is_no_utf_8_is_refused_with_one_message(tmp_path: Path) -> None:
    (tmp_path / "asked.sql").write_bytes(b"SELECT '\xff'")
    for words, piped in ((["--file", str(tmp_path / "asked.sql")], None), ([], b"SELECT '\xff'"), (["'\udcff'"], None)):
        asked = runner.invoke(app, ["query", "--json", *words], input=piped)
        assert (asked.exit_code, asked.stdout) == (2, "") and "is not UTF-8" in asked.stderr


def test_a_question_writes_nothing_beside_the_warehouse(warehouse: Warehouse) -> None:
    with warehouse.confined() as connection:
        assert connection.execute("SELECT current_setting('temp_directory')").fetchall() == [("",)]


def test_duckdbs_shell_starts_and_reaches_the_warehouse_alone(home: Home, tmp_path: Path) -> None:
    shell = Path(sys.executable).with_name("duckdb")
    if not shell.exists():
        pytest.skip("DuckDB's shell is not installed")
    lines = [
        "SELECT count(*) AS tasks FROM tasks;",
        f"COPY (SELECT 1) TO '{tmp_path / 'copy.csv'}';",
        "SELECT * FROM read_text('/etc/hostname');",
        ".shell touch written",
        "DELETE FROM tasks;",
    ]
    run = subprocess.run(
        query.shell_command(shell, home.warehouse_file),
        input="\n".join(lines), capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "tasks" in run.stdout and run.stderr.count("disabled by configuration") == 2
    assert "-safe mode" in run.stderr and "read-only" in run.stderr
    assert not list(tmp_path.iterdir())


def test_a_table_shows_text_as_it_is_stored() -> None:
    shown = runner.invoke(app, ["query", "SELECT 'root:x:0:0' AS a, '[red]b' AS b, chr(27) || '[2J' || chr(8238) AS c"])
    assert "root:x:0:0" in shown.stdout and "[red]b" in shown.stdout
    assert "\\x1b[2J\\u202e" in shown.stdout and "\x1b" not in shown.stdout


def test_a_tree_folds_records_that_are_alike_and_tells_of_run_code_and_machine() -> None:
    result = runner.invoke(app, ["lineage", "checkpoint[bold-0040]"])
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert re.match("checkpoint bold-40 bold update 40", lines[0])
    assert "run run-40, code c0ffee+dirty, Python 3." in lines[1]
    assert re.search(r"trained \d+ rollouts", result.stdout) and len(lines) < 40
    every = runner.invoke(app, ["lineage", "bold-40", "--all"])
    assert len(every.stdout.splitlines()) > 40


def test_json_has_each_record_and_edge_once_with_the_runtime() -> None:
    told = json.loads(runner.invoke(app, ["lineage", "bold-40", "--json", "--batches"]).stdout)
    assert len({(node["kind"], node["id"]) for node in told["nodes"]}) == len(told["nodes"])
    kinds = {node["kind"] for node in told["nodes"]}
    assert {"prompt", "model", "llm_call", "environment", "task", "proof", "rollout", "update", "runtime"} <= kinds
    assert "duckdb" in told["made_in"][0]["libraries"] and told["made_in"][0]["dirty"]


def test_evaluations_come_from_their_rollouts_and_a_rule_is_a_rule(warehouse: Warehouse) -> None:
    rows = warehouse.query("SELECT id, n, policy_id FROM evaluations WHERE split = 'test'").to_dicts()
    assert len(rows) == 6
    for row in rows:
        found = trace(warehouse, row["id"], up=True, depth=1)
        assert len(found.of_kind("rollout")) == row["n"]
        policy = "rule" if row["policy_id"].startswith("rule:") else "checkpoint"
        assert found.of_kind(policy) == [row["policy_id"]]


def test_a_picture_is_drawn_in_each_format(tmp_path: Path) -> None:
    for suffix in ("svg", "png", "mmd", "md"):
        drawn = tmp_path / f"of.{suffix}"
        result = runner.invoke(app, ["lineage", "bold-40", "--picture", str(drawn)])
        assert result.exit_code == 0, result.stderr
    assert ElementTree.parse(tmp_path / "of.svg").getroot().tag.endswith("svg")
    with Image.open(tmp_path / "of.png") as png:
        assert png.width < 1100, "fits into the dialog"
    assert 'checkpoint bold-40<br/>bold update 40"' in (tmp_path / "of.mmd").read_text()
    block = runner.invoke(app, ["lineage", "bold-40", "--picture", "-"]).stdout
    assert block == (tmp_path / "of.md").read_text() == f"```mermaid\n{(tmp_path / 'of.mmd').read_text()}```\n"
    assert runner.invoke(app, ["lineage", "bold-40", "--picture", "of.gif"]).exit_code == 2
    assert runner.invoke(app, ["lineage", "bold-40", "--picture", "-", "--json"]).exit_code == 2


def test_a_label_of_the_picture_is_text_whatever_it_says() -> None:
    odd = 'a "quoted"\n<b>#1</b>; ```js & n2["x"] \\n'
    root, parent = Node("task", "t1", odd), Node("model", "m1", "")
    link = Link(child_kind="task", child_id="t1", parent_kind="model", parent_id="m1", relation="worded", detail=odd)
    nodes = {("task", "t1"): root, ("model", "m1"): parent}
    text = mermaid(fold(Lineage(("task", "t1"), up=True, nodes=nodes, links=(link,))))
    shown = "a #quot;quoted#quot; #lt;b#gt;#35;1#lt;/b#gt;; #96;#96;#96;js #amp; n2[#quot;x#quot;] #92;n"
    assert text.splitlines() == [
        "flowchart BT",
        f'  n0["task t1<br/>{shown}"]',
        '  n1["model<br/>m1"]',
        f'  n1 -->|"worded, {shown}"| n0',
    ]


def test_a_picture_leaves_out_lines_that_a_longer_way_implies(warehouse: Warehouse) -> None:
    folded = fold_to_fit(trace(warehouse, "bold-40", up=True, depth=12, until=("checkpoint",), without=("check",)))
    text = mermaid(folded)
    assert "|produced|" in text.replace('"', "") and "parent" not in text and "attempted in" not in text
    assert any("attempted_in" in relations for relations in folded.relations.values())


def test_the_picture_of_a_checkpoint_stands_in_its_metadata(warehouse: Warehouse) -> None:
    assert shown_lineage(warehouse, "bold-40")["lineage"].md_str.startswith("![lineage](data:image/png;base64,")


def test_what_is_not_there_or_not_clear_is_said() -> None:
    nothing = runner.invoke(app, ["lineage", "nobody"])
    assert nothing.exit_code == 1 and 'nothing is called "nobody"' in nothing.stderr
    several = runner.invoke(app, ["lineage", "call-"])
    assert several.exit_code == 1 and "llm_call call-new, llm_call call-old, llm_call call-tables" in several.stderr
