"""Tools whose body is a program: what they can do, what they answer, and what is wrong with them before they run."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs import workers
from envs.environment import Environment
from envs.errors import SpecError
from envs.spec import Guard, Program, Returns, Tool
from envs.tools import ToolResult
from envs.verdict import Outcome
from tests.envs.programs import needs_workers, program_tool, shop_with, unread
from tests.fixtures import call, make_task, shop_spec

pytestmark = needs_workers

SPLIT = """
    rows = db_query("SELECT customer_id, product_id, quantity FROM orders WHERE id = :id", {"id": order_id})
    if not rows:
        raise ValueError(f"there is no order {order_id}")
    order = rows[0]
    if order["quantity"] <= keep:
        raise ValueError(f"order {order_id} has only {order['quantity']} pieces")
    moved = new_id("orders")
    db_exec("UPDATE orders SET quantity = :keep WHERE id = :id", {"keep": keep, "id": order_id})
    order.update(id=moved, quantity=order["quantity"] - keep)
    db_exec(
        "INSERT INTO orders VALUES (:id, :customer_id, :product_id, :quantity, 'pending', :today)", order
    )
    return {"kept": order_id, "moved": moved}
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[Environment]:
    environment = Environment.load(shop_with(program_tool(SPLIT, writes=True, order_id="string", keep="integer")))
    yield environment
    environment.close()


def answer(code: str, **parameters: str) -> ToolResult:
    """What a reading program answers when it is called without arguments."""
    with Environment.load(shop_with(program_tool(code, **parameters))) as environment:
        replay = environment.replay([call("program")])
    assert replay.broken is None, replay.broken
    return replay.results[0]


def broken(code: str, writes: bool = False) -> str:
    with Environment.load(shop_with(program_tool(code, writes))) as environment:
        replay = environment.replay([call("program")])
    assert replay.broken is not None
    return replay.broken


def test_a_program_reads_writes_mints_and_answers(shop: Environment) -> None:
    replay = shop.replay([call("program", order_id="ORD-4", keep=1)])
    assert replay.results[0].value == {"kept": "ORD-4", "moved": "ORD-6"}
    assert [(change.operation, change.key) for change in replay.changeset] == [
        ("update", "ORD-4"),
        ("insert", "ORD-6"),
    ]
    assert replay.changeset[1].new["placed_on"] == "2026-03-02"


def test_a_program_makes_tasks_like_any_tool(shop: Environment) -> None:
    task = make_task(shop, "Split ORD-4.", [call("program", order_id="ORD-4", keep=1)])
    assert shop.judge(task, task.golden, "").outcome is Outcome.SOLVED
    assert shop.judge(task, [call("program", order_id="ORD-4", keep=2)], "").outcome is Outcome.FAILED


def test_a_refusal_is_an_answer_and_undoes_the_call(shop: Environment) -> None:
    late = """
        moved = new_id("orders")
        db_exec("UPDATE orders SET quantity = 9")
        raise ValueError("not\\ntoday: " + moved)
    """
    with Environment.load(shop_with(program_tool(late, writes=True))) as environment:
        replay = environment.replay([call("program"), call("program")])
    assert [result.error for result in replay.results] == ["program: not today: ORD-6"] * 2
    assert replay.changeset == ()
    assert shop.replay([call("program", order_id="ORD-9", keep=1)]).results[0].error == (
        "program: there is no order ORD-9"
    )


def test_only_a_raise_of_the_program_refuses_and_not_a_slip_of_it() -> None:
    assert "line 1: ValueError: invalid literal" in broken("int('x')")
    assert "line 1: ValueError" in broken("raise ValueError(int('x'))")
    assert answer("try:\n    int('x')\nexcept ValueError:\n    raise ValueError('é: no number')").error == (
        "program: é: no number"
    )
    assert answer('x = """\nb"""; raise ValueError("after " + x.strip())').error == "program: after b"


def test_values_the_tables_refuse_end_the_call_and_cannot_be_caught() -> None:
    insert = "INSERT INTO customers VALUES (:id, 'A', 'ada@example.org', 'X')"
    code = f"""
        db_exec("UPDATE customers SET city = 'Rome'")
        try:
            db_exec("{insert}", {{"id": new_id("customers")}})
        except Exception:
            pass
        db_exec("UPDATE customers SET city = 'Oslo'")
    """
    with Environment.load(shop_with(program_tool(code, writes=True))) as environment:
        replay = environment.replay([call("program")])
    assert replay.results[0].error == "program: another row of customers already has this email"
    assert replay.changeset == ()


def test_guards_are_asked_before_the_program() -> None:
    guarded = program_tool("raise ValueError('the program ran')", order_id="string").model_copy(
        update={"guards": (Guard(sql="SELECT 0 WHERE :order_id = ''", message="no {order_id}"),)}
    )
    with Environment.load(shop_with(guarded)) as environment:
        result = environment.replay([call("program", order_id="ORD-1")]).results[0]
    assert result.error == "program: no ORD-1"


def test_arguments_are_checked_before_the_program(shop: Environment) -> None:
    assert "keep must be an integer" in str(shop.replay([call("program", order_id="ORD-4", keep="1")]).results[0].error)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("[1, (2, 3), None, 1.5, True, {'a': 'é'}]", [1, [2, 3], None, 1.5, True, {"a": "é"}]),
        ("return 3", 3),
        ("x = 3", None),
        ("", None),
        ("# only a comment", None),
        ("x = 1; x + 1", 2),
        ("if today == '2026-03-02':\n    return now\nreturn None", "2026-03-02T09:00:00"),
        ('"""a\n    b"""', "a\n    b"),
        ("(\n1 +\n2)", 3),
        ("def double(n):\n    return 2 * n\ndouble(4)", 8),
        ("from datetime import date, datetime\n[str(date.today()), str(datetime.now())]",
         ["2026-03-02", "2026-03-02 09:00:00"]),
        ("db_query('SELECT giftable FROM products WHERE id = :id', params={'id': 'PRD-2'})", [{"giftable": True}]),
        ("db_query('SELECT :today AS today')", [{"today": "2026-03-02"}]),
        ("len(db_query('SELECT * FROM orders'))", 5),
    ],
)  # fmt: skip
def test_a_program_answers_with_what_it_ends_with_or_returns(code: str, value: object) -> None:
    assert answer(code).value == value


def test_every_name_and_module_that_may_be_used_is_there() -> None:
    from envs.program import BUILTINS, MODULES

    code = f"import {', '.join(MODULES)}\nlen([{', '.join(sorted(BUILTINS))}])"
    assert answer(code).value == len(BUILTINS)


def test_rows_without_an_order_come_in_their_own_so_that_replays_agree() -> None:
    code = "[row['id'] for row in db_query('SELECT id, customer_id FROM orders')]"
    with Environment.load(shop_with(program_tool(code))) as environment:
        calls = [call("program"), call("place_order", customer_id="CUS-1", product_id="PRD-2", quantity=1)] * 2
        assert environment.replay(calls) == environment.replay(calls, reverse_unordered_selects=True)
        assert environment.replay(calls) == environment.replay(calls)


def test_nothing_is_kept_from_one_call_to_the_next() -> None:
    code = "kept = eval('__arguments__')\nkept[str(len(kept))] = 1\nreturn len(kept)"
    with unread(code) as environment:
        assert [result.value for result in environment.replay([call("program")] * 3).results] == [3, 3, 3]


def test_a_tool_with_a_program_reads_back() -> None:
    with_program = program_tool("1")
    assert Tool.model_validate_json(with_program.canonical()) == with_program


def test_environments_in_several_threads_share_the_workers(shop: Environment) -> None:
    found: list[object] = []

    def play() -> None:
        with shop.fork() as environment:
            for _ in range(10):
                found.append(environment.replay([call("program", order_id="ORD-4", keep=1)]).results[0].value)

    threads = [threading.Thread(target=play) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{"kept": "ORD-4", "moved": "ORD-6"}] * 40


def test_a_worker_that_is_killed_is_replaced(shop: Environment) -> None:
    with workers.session() as session:
        assert session.feed_run("1") == 1
        pid = session.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    assert shop.replay([call("program", order_id="ORD-4", keep=1)]).broken is None


def test_a_worker_killed_during_a_call_breaks_that_episode_only(shop: Environment) -> None:
    with Environment.load(shop_with(program_tool("while True:\n    pass"))) as environment:
        pids = {int(line) for line in _worker_pids()}
        timer = threading.Timer(0.3, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids | _worker_pids()])
        timer.start()
        replay = environment.replay([call("program")])
        timer.join()
    assert replay.broken == "tool program: the worker died and was replaced"
    assert shop.replay([call("program", order_id="ORD-4", keep=1)]).broken is None


def test_a_forked_process_is_told_so_and_does_not_hang(shop: Environment) -> None:
    shop.replay([call("program", order_id="ORD-4", keep=1)])
    child = os.fork()
    if child == 0:
        os._exit(7 if "forked" in str(workers.refusal()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert shop.replay([call("program", order_id="ORD-4", keep=1)]).broken is None


def _worker_pids() -> set[int]:
    """The workers among this process's children."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    found = set()
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / children.name).read_text().split():
            if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"monty\0subprocess\0"):
                found.add(int(pid))
    return found


def test_environments_without_programs_never_pay_for_them() -> None:
    script = """
        import sys
        from envs.environment import Environment
        from tests.fixtures import call, shop_spec
        Environment.load(shop_spec()).replay([call("cancel_order", order_id="ORD-1")])
        assert "pydantic_monty" not in sys.modules
        from envs import workers
        assert not workers._of_process
    """
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", "if True:" + script], cwd=root, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_machine_that_cannot_confine_refuses_programs_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_landlock(folder: Path) -> Path:
        launcher = folder / "worker"
        launcher.write_text("#!/bin/sh\necho 'Landlock is refused by this kernel' >&2\nexit 1\n")
        launcher.chmod(0o700)
        return launcher

    monkeypatch.setattr(workers, "_write_launcher", no_landlock)
    monkeypatch.setattr(workers, "_of_process", {})
    assert "Landlock is refused by this kernel" in str(workers.refusal())
    with pytest.raises(workers.PythonToolsRefused, match="Linux on x86_64 with Landlock and seccomp"):
        Environment.load(shop_with(program_tool("1")))
    assert Environment.load(shop_spec()).replay([call("cancel_order", order_id="ORD-1")]).broken is None


WRONG = {
    "syntax": ("x = (", "syntax: '(' was never closed"),
    "unknown name": ("return total", "uses total, which is not declared"),
    "unknown function": ("print('x')", "uses print, which is not declared"),
    "import": ("import os", "line 1: imports os, which is not allowed"),
    "import of everything": ("from math import *", "syntax: import * only allowed at module level"),
    "insides": ("().__class__", "line 1: the name __class__"),
    "global": ("def f():\n    global x\n    x = 1\nf()", "line 2: the statement global"),
    "generator": ("yield 1", "line 1: yield or await"),
    "inheritance": ("class A(Exception):\n    pass\nA()", "class inheritance"),
    "shadowing": ("db_query = 3\ndb_query", "gives db_query another meaning"),
    "shadowing by a function": ("def db_query(sql):\n    return 1\ndb_query('')", "gives db_query another meaning"),
    "write in a read": ("db_exec('DELETE FROM orders')", "calls db_exec in a program that only reads"),
    "mint in a read": ("new_id('orders')", "calls new_id in a program that only reads"),
    "wrong column": ("db_query('SELECT stauts FROM orders')", "line 1: no such column: stauts. Did you mean status?"),
    "wrong SQL kind": ("db_query('DELETE FROM orders')", "only a SELECT may stand"),
    "unbound": ("db_query('SELECT :a AS a', {'b': 1})", "line 1: binds :a, which is not given"),
    "positional": ("db_query('SELECT ? AS a', {})", "Binding 0 has no name"),
    "wrong attribute": ("rows = db_query('SELECT 1 AS a')\nrows.first()", "line 2: Object of type"),
    "wrong arguments": ("db_query()", "No argument provided for required parameter `sql`"),
    "control character": ("x = 1\x0c", "the control character"),
    "too long": ("1\n" * 11_000, "characters of code"),
    "too deep": ("-" * 3_000 + "1", "nest"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_program_is_refused_with_its_line_and_a_remedy(case: str) -> None:
    code, said = WRONG[case]
    with pytest.raises(SpecError) as refused:
        Environment.load(shop_with(program_tool(code)))
    assert refused.value.place == "tools.program.program"
    assert said in str(refused.value)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("changes", "place", "said"),
    [
        ({"effects": ("DELETE FROM orders",)}, "tools.program", "both a program and `effects`"),
        ({"returns": Returns(sql="SELECT 1 AS x")}, "tools.program", "both a program and `returns`"),
        ({"mints": "orders"}, "tools.program.mints", "a program mints by itself"),
        ({"program": None}, "tools.program", "it answers nothing"),
        ({"parameters": program_tool("1", why="string").parameters}, "tools.program.parameters.why", "uses it"),
        ({"parameters": program_tool("1", lambda_="string").parameters}, "tools.program.parameters.lambda_", "uses it"),
        ({"program": Program(code="1", writes=True)}, "tools.program.program", "db_exec is never called"),
    ],
)
def test_a_tool_is_either_declared_or_programmed(changes: dict[str, object], place: str, said: str) -> None:
    tool = program_tool("1").model_copy(update=changes)
    with pytest.raises(SpecError) as refused:
        Environment.load(shop_with(tool))
    assert refused.value.place == place
    assert said in str(refused.value)
