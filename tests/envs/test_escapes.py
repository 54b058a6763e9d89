"""What tools try in order to get out, or to stay: each attempt ends with the world as it was before that call.

Programs are tried twice: as their reader meets them, which may refuse them at load, and let past the reader, so that
what holds them is shown to be the sandbox and the host. SQL is tried through programs and in declared tools.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs import confinement, workers
from envs.environment import Environment
from envs.errors import EnvironmentBroken, SpecError
from envs.spec import Returns, Tool
from envs.strict_json import NotJson, parse_json
from envs.verdict import Outcome
from tests.envs.programs import needs_workers, program_tool, shop_with, unread
from tests.fixtures import call, make_task, shop_spec

ASK = "ask = eval('__host__')\n"
"""What a program would do that had found the way to the host underneath the host functions."""

PROGRAMS = {
    "class walk": "().__class__.__mro__[-1].__subclasses__()",
    "class walk by getattr": "getattr((), '__cla' + 'ss__').__mro__",
    "format walk": "'{0.__class__.__mro__}'.format(())",
    "format_map walk": "'{x.__init__.__globals__}'.format_map({'x': len})",
    "function globals": "(lambda: 0).__globals__",
    "function code": "(lambda: 0).__code__.co_consts",
    "frame of an exception": "try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame.f_back.f_globals",
    "frame of a generator": "(x for x in [1]).gi_frame.f_builtins",
    "builtins": "__builtins__['open']('/etc/passwd')",
    "import by name": "__import__('os').system('true')",
    "import os": "import os\nreturn os.environ['PATH']",
    "list files": "import os\nreturn os.listdir('/')",
    "run a command": "import os\nreturn os.system('true')",
    "import sys": "import sys\nreturn sys.modules['os'].getcwd()",
    "sockets": "import socket\nreturn socket.create_connection(('127.0.0.1', 1))",
    "subprocess": "import subprocess\nreturn subprocess.run(['true'])",
    "ctypes": "import ctypes\nreturn ctypes.CDLL(None)",
    "import from the host": "import envs.state\nreturn 1",
    "open": "open('/etc/passwd').read()",
    "open to write": "open('/tmp/escaped', 'w').write('x')",
    "pathlib": "from pathlib import Path\nreturn Path('/etc/passwd').read_text()",
    "input": "input('x')",
    "async": "import asyncio\nasync def f():\n    return await eval('__host__')('x')\nreturn asyncio.run(f())",
    "import a way to import": "import importlib\nreturn importlib.import_module('os').getcwd()",
    "stack frames": "import inspect\nreturn inspect.stack()[1].frame.f_globals",
    "every object": "import gc\nreturn gc.get_objects()",
    "unpickle": "import pickle\nreturn pickle.loads(b'cos\\nsystem\\n(S\"true\"\\ntR.')",
    "fork": "import os\nreturn os.fork()",
    "signal": "import os\nreturn os.kill(os.getppid(), 9)",
    "thread": "import threading\nreturn threading.Thread(target=print).start()",
    "a new type": "type('X', (), {'x': 1})",
    "the type of types": "type.mro(int)[-1].__subclasses__(object)",
    "the module of a method": "len.__self__.__dict__",
    "globals": "globals()['__host__']('rollback', '[]')",
    "replace the host": "global __host__\n__host__ = 3\nreturn db_query('SELECT 1 AS x')",
    "replace the writer of JSON": "global __json__\n__json__ = 3\nreturn db_query('SELECT 1 AS x')",
    "raise the limits": "import sys\nsys.setrecursionlimit(10**9)\nreturn 1",
    "sleep for ever": "import time\nwhile True:\n    time.sleep(10**9)",
    "print for ever": "while True:\n    print('x' * 10**6)",
    "regex bomb": "import re\nreturn re.match(r'(a*)*\\1\\1$', 'a' * 60 + 'b')",
    "deep regex": "import re\nreturn re.compile('(' * 10**5 + ')' * 10**5)",
    "giant regex": "import re\nreturn re.compile('(a{1000}){1000}{1000}')",
    "endless product": "import itertools\nreturn list(itertools.product(range(1000), repeat=10))",
    "endless count": "import itertools\nreturn sum(itertools.count())",
    "deep source": "eval('(' * 10**5 + ')' * 10**5)",
    "long source": "eval('+'.join(['1'] * 10**6))",
    "deep JSON": "import json\nreturn json.loads('[' * 10**6)",
    "deep repr": "x = []\nfor _ in range(10**6):\n    x = [x]\nreturn repr(x)",
    "deep comparison": "x = {}\ny = {}\nfor _ in range(10**5):\n    x, y = {1: x}, {1: y}\nreturn x == y",
    "repr of itself": "class X:\n    def __repr__(self):\n        return repr(self)\nreturn repr(X())",
    "giant replacement": "x = 'a' * 10**6\nreturn x.replace('a', x)",
    "giant digits": "str(10**10**6)",
    "giant binomial": "import math\nreturn math.comb(10**7, 5 * 10**6)",
    "finally for ever": "try:\n    while True:\n        pass\nfinally:\n    while True:\n        pass",
    "answer in finally": "try:\n    while True:\n        pass\nfinally:\n    return 1",
    "endless chain of exceptions": "e = None\nwhile True:\n    try:\n        raise ValueError(e) from e\n"
    "    except ValueError as x:\n        e = x",
    "endless loop": "while True:\n    pass",
    "endless loop, swallowed": "while True:\n    try:\n        while True:\n            pass\n"
    "    except BaseException:\n        pass",
    "endless in one call": "sum(range(10**12))",
    "endless sort key": "sorted(range(10**6), key=lambda n: sum(range(10**6)))",
    "doubling text": "x = 'a'\nwhile True:\n    x += x",
    "doubling text, swallowed": "x = ['a']\nwhile True:\n    try:\n        x.append(x[-1] * 2)\n"
    "    except BaseException:\n        pass",
    "giant text": "'a' * 10**12",
    "giant padding": "'{:>1000000000000}'.format(1)",
    "giant list": "[0] * 10**12",
    "giant join": "','.join(['x' * 10**6] * 10**6)",
    "giant power": "9**9**9",
    "giant shift": "1 << 10**12",
    "giant decimal": "int('9' * 10**6)",
    "giant factorial": "import math\nmath.factorial(10**8)",
    "growing dict": "d = {}\nn = 0\nwhile True:\n    d[n] = [n] * 100\n    n += 1",
    "recursion": "def f(n):\n    return f(n + 1)\nf(0)",
    "mutual recursion in a sort": "def f(n):\n    return sorted([n], key=f)\nf(0)",
    "many tiny host calls": "for n in range(10**6):\n    db_query('SELECT 1 AS x')",
    "many tiny host calls, swallowed": "for n in range(10**6):\n    try:\n        db_query('SELECT 1 AS x')\n"
    "    except BaseException:\n        pass",
    "a function": "lambda: 1",
    "a host function": "db_query",
    "a builtin": "len",
    "a type": "int",
    "bytes": "'x'.encode()",
    "a set": "{1}",
    "not a number": "float('nan')",
    "infinity": "[{'x': float('inf')}]",
    "negative infinity": "-1e999",
    "an integer beyond JSON": "2**53",
    "an integer beyond everything": "10**5000",
    "a cycle": "x = []\nx.append(x)\nx",
    "a cycle of dicts": "x = {}\nx['x'] = {'y': x}\nx",
    "a bomb of shared lists": "x = []\nfor _ in range(100):\n    x = [x, x]\nx",
    "too deep": "x = []\nfor _ in range(50):\n    x = [x]\nx",
    "far too deep": "x = []\nfor _ in range(150):\n    x = {'x': x}\nx",
    "too long": "'x' * 70_000",
    "too many": "list(range(20_000))",
    "exit": "raise SystemExit(0)",
    "interrupt": "raise KeyboardInterrupt()",
    "an odd exception": "raise RuntimeError('/etc/passwd')",
    "a failed assertion": "assert 1 == 2",
    "an unknown name": "nothing_of_that_name",
    "db_exec in a read": "db_exec('DELETE FROM orders')",
    "db_exec in a read, underneath": ASK + "ask('db_exec', '[\"DELETE FROM orders\", null]')",
    "minting in a read, underneath": ASK + "ask('new_id', '[\"orders\"]')",
    "another host function": ASK + "ask('rollback', '[]')",
    "no host function": ASK + "ask()",
    "names for the host": ASK + "ask('db_query', name='x')",
    "not JSON": ASK + "ask('db_query', 'SELECT 1')",
    "no text": ASK + "ask('db_query', ['SELECT 1', None])",
    "twice the same key": ASK + "ask('db_query', '[\"SELECT :a AS a\", {\"a\": 1, \"a\": 2}]')",
    "an infinite number in JSON": ASK + "ask('db_query', '[\"SELECT :a AS a\", {\"a\": 1e999}]')",
    "half a character in JSON": ASK + "ask('db_query', '[\"SELECT :a AS a\", {\"a\": \"\\\\ud800\"}]')",
    "a shared bomb for the host": ASK + "x = []\nfor _ in range(100):\n    x = [x, x]\nask(x)",
    "a cycle for the host": ASK + "x = []\nx.append(x)\nask('db_query', x)",
    "a giant integer for the host": ASK + "ask('db_query', 10**100_000)",
    "a deep value for the host": ASK + "x = []\nfor _ in range(10**4):\n    x = [x]\nask('db_query', x)",
    "a giant text for the host": ASK + "ask('db_query', 'x' * 10**7)",
    "a function for the host": ASK + "ask(lambda: 1, ask)",
    "a parameter that is a function": "db_query('SELECT :a AS a', {'a': lambda: 1})",
    "a parameter that is a list": "db_query('SELECT :a AS a', {'a': [1]})",
    "a parameter that is no number": "db_query('SELECT :a AS a', {'a': float('nan')})",
    "a parameter that is bytes": "db_query('SELECT :a AS a', {'a': 'x'.encode()})",
    "a parameter beyond integers": "db_query('SELECT :a AS a', {'a': 2**80})",
    "a parameter with NUL": "db_query('SELECT :a AS a', {'a': 'x' + chr(0)})",
    "parameters without names": "db_query('SELECT :a AS a', [1])",
    "a parameter that is missing": "sql = 'SELECT :a AS a'\ndb_query(sql, {'b': 1})",
    "SQL that is a number": "db_query(1)",
    "SQL that is missing": "db_query()",
    "three arguments for the host": ASK + "ask('db_query', '[\"SELECT 1 AS x\", null, 3]')",
    "a host function with no name": ASK + "ask(b'db_query', '[]')",
    "insides of the host": ASK + "return ask.__self__",
    "half a character in SQL": "db_query('SELECT 1 AS x' + chr(0xd800))",
    "half a character as an answer": "chr(0xd800)",
    "keys that become the same": "{1: 2, '1': 3}",
    "an object as an answer": "class X:\n    pass\nreturn X()",
    "host calls in a sort": "sorted(range(10**4), key=lambda n: len(db_query('SELECT 1 AS x')))",
    "a table that is none": "new_id('sqlite_master')",
    "a table that is a list": "new_id(['orders'])",
}  # fmt: skip

SQL = {
    "attach": "ATTACH DATABASE '/tmp/escaped.db' AS x",
    "pragma": "PRAGMA foreign_keys = OFF",
    "pragma the engine needs": "PRAGMA table_xinfo(orders)",
    "pragma as a table": "SELECT name FROM pragma_table_info('orders')",
    "extension": "SELECT load_extension('/tmp/x.so')",
    "file": "SELECT readfile('/etc/passwd')",
    "schema": "SELECT sql FROM sqlite_master",
    "schema of temporary tables": "SELECT sql FROM sqlite_temp_schema",
    "commit": "COMMIT",
    "rollback": "ROLLBACK",
    "begin": "BEGIN",
    "the engine's savepoint": "RELEASE call",
    "a savepoint": "SAVEPOINT mine",
    "two statements": "SELECT 1 AS x; DELETE FROM orders",
    "a statement behind NUL": "SELECT 1 AS x\x00; DELETE FROM orders",
    "a statement behind a comment": "SELECT 1 AS x; -- x\nDELETE FROM orders",
    "definition": "CREATE TABLE t (x)",
    "trigger": "CREATE TRIGGER t AFTER UPDATE ON orders BEGIN DELETE FROM customers; END",
    "temporary trigger": "CREATE TEMP TRIGGER t AFTER UPDATE ON orders BEGIN DELETE FROM customers; END",
    "view": "CREATE TEMP VIEW v AS SELECT 1",
    "virtual table": "CREATE VIRTUAL TABLE v USING fts5(x)",
    "drop": "DROP TABLE orders",
    "alter": "ALTER TABLE orders ADD COLUMN x",
    "vacuum": "VACUUM INTO '/tmp/escaped.db'",
    "analyze": "ANALYZE",
    "explain": "EXPLAIN SELECT 1",
    "chance": "SELECT random() AS x",
    "chance in bytes": "SELECT hex(randomblob(8)) AS x",
    "what other episodes did": "SELECT total_changes() AS x",
    "local time": "SELECT datetime('now', 'localtime') AS x",
    "other tables": "SELECT * FROM dbstat",
    "schema, quoted": "SELECT * FROM [sqlite_master]",
    "schema in a subquery": "SELECT (SELECT sql FROM main.sqlite_schema LIMIT 1) AS x",
    "schema, counted": "SELECT count(*) AS x FROM sqlite_master",
    "pages": "SELECT * FROM sqlite_dbpage",
    "functions": "SELECT * FROM pragma_function_list",
    "detach": "DETACH DATABASE main",
    "temporary table": "CREATE TEMP TABLE t AS SELECT * FROM customers",
    "chance in an order": "SELECT id FROM orders ORDER BY random()",
    "the engine's version": "SELECT sqlite_version() AS x",
    "rows changed before": "SELECT changes() AS x",
    "write a file": "SELECT writefile('/tmp/escaped', 'x') AS x",
    "two loops in one": f"SELECT count(*) AS x FROM {', '.join(f'orders o{n}' for n in range(12))}",
    "deep subqueries": f"SELECT {'(SELECT ' * 150}1{')' * 150} AS x",
    "trim a long text with a long one": "SELECT trim(printf('%.90000c', 'a'), printf('%.90000c', 'b') || 'a') AS x",
    "search a long text for a long one, often": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT sum(instr(printf('%.90000c', 'a'), printf('%.45000c', 'a') || i)) AS x FROM n",
    "endless long texts": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT max(length(printf('%.90000c', i))) AS x FROM n",
    "sort endless long texts": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT DISTINCT printf('%.90000c', i) AS x FROM n ORDER BY x",
    "texts that double": "WITH RECURSIVE n(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM n) "
    "SELECT max(length(s)) AS x FROM n",
    "endless": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS x FROM n",
    "endless rows": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n",
    "giant text": "SELECT printf('%.2000000c', 'x') AS x",
    "text that is no text": "SELECT CAST(x'ff' AS TEXT) AS x",
    "bytes": "SELECT x'00' AS x",
    "infinity": "SELECT 9e999 AS x",
    "an integer beyond JSON": "SELECT 9223372036854775807 AS x",
    "overflow": "SELECT sum(9223372036854775807) AS x FROM orders",
    "nothing": "-- nothing",
    "positions": "SELECT ? AS x",
    "too much SQL": "SELECT " + "1 + " * 20_000 + "1 AS x",
}
ROWS = {
    "many rows": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT i FROM n",
    "much text": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 900) "
    "SELECT i, printf('%.90000c', 'x') AS x FROM n",
}
"""What a program may not fetch; a declared tool shows its first fifty rows."""
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000)"
WRITES = {
    "endless": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "UPDATE orders SET quantity = (SELECT max(i) FROM n)",
    "fills the memory": f"{NUMBERS} INSERT INTO customers SELECT 'X-' || i, printf('%.90000c', 'x'), i, '' FROM n",
    "many rows": f"{NUMBERS} INSERT INTO customers SELECT 'X-' || i, 'x', i, 'x' FROM n",
    "rolls back": "INSERT OR ROLLBACK INTO customers VALUES ('CUS-1', 'A', 'a@b.c', 'X')",
    "reads": "SELECT 1 AS x",
    "defers the foreign keys": "PRAGMA defer_foreign_keys = ON",
    "the engine's savepoint": "ROLLBACK TO call",
    "tells the schema": "UPDATE orders SET quantity = 1 RETURNING (SELECT sql FROM sqlite_master)",
    "by chance": "DELETE FROM orders WHERE quantity > random()",
    "of two": "DELETE FROM orders; DELETE FROM products",
    "writes the schema": "UPDATE sqlite_master SET sql = ''",
    "deletes the schema": "DELETE FROM sqlite_schema",
}


@pytest.fixture(scope="module")
def shop() -> Iterator[Environment]:
    environment = Environment.load(shop_spec())
    yield environment
    environment.close()


def contained(environment: Environment) -> str:
    """Whatever the tool `program` does: no change, no trace in the next episode; the answer is what broke."""
    task = make_task(environment, "", [call("cancel_order", order_id="ORD-1")])
    with environment.episode(task) as episode:
        assert episode.call("cancel_order", order_id="ORD-1").ok
        before = episode.content_hash()
        with pytest.raises(EnvironmentBroken) as broken:
            episode.call("program")
        assert episode.content_hash() == before
        assert episode.verdict("").outcome is Outcome.ENVIRONMENT_ERROR
    assert environment.judge(task, task.golden, "").outcome is Outcome.SOLVED
    said = str(broken.value)
    assert "\n" not in said and len(said) < 700
    for inside in ("Traceback", "site-packages", str(Path(__file__).parents[2]), sys.prefix, "pydantic_monty"):
        assert inside not in said
    return said


@needs_workers
@pytest.mark.parametrize("attempt", PROGRAMS)
def test_no_program_gets_out_even_if_nobody_read_it(attempt: str) -> None:
    code = PROGRAMS[attempt]
    lines = code.split("\n")
    if not lines[-1].startswith((" ", "return", "raise", "while", "for", "assert")):
        lines[-1] = f"return {lines[-1]}"
    with unread("\n".join(lines)) as environment:
        contained(environment)


@needs_workers
@pytest.mark.parametrize("attempt", PROGRAMS)
def test_a_program_that_is_read_is_refused_at_load_or_breaks(attempt: str) -> None:
    try:
        environment = Environment.load(shop_with(program_tool(PROGRAMS[attempt])))
    except SpecError as refused:
        assert refused.place == "tools.program.program" and refused.remedy
        return
    with environment:
        contained(environment)


@needs_workers
@pytest.mark.parametrize("attempt", {**SQL, **ROWS})
@pytest.mark.parametrize("function", ["db_query", "db_exec"])
def test_no_sql_of_a_program_gets_out(attempt: str, function: str) -> None:
    sql = {**SQL, **ROWS}[attempt]
    with unread(f"db_exec('UPDATE orders SET quantity = 7')\nreturn {function}({sql!r})", writes=True) as environment:
        contained(environment)


@needs_workers
@pytest.mark.parametrize("attempt", WRITES)
@pytest.mark.parametrize("swallowed", [False, True])
def test_no_write_of_a_program_takes_the_episode_with_it(attempt: str, swallowed: bool) -> None:
    write = f"db_exec({WRITES[attempt]!r})"
    if swallowed:
        write = f"try:\n    {write}\nexcept BaseException:\n    pass\ndb_exec('UPDATE orders SET quantity = 8')"
    with unread(f"db_exec('UPDATE orders SET quantity = 7')\n{write}\nreturn 1", writes=True) as environment:
        contained(environment)


@needs_workers
def test_a_program_that_breaks_after_it_wrote_leaves_no_row_and_no_number_behind() -> None:
    code = "new_id('orders')\ndb_exec('DELETE FROM orders')\n{}[1]"
    with unread(code, writes=True) as environment:
        contained(environment)
        placed = environment.replay([call("place_order", customer_id="CUS-1", product_id="PRD-2", quantity=1)])
        assert [change.key for change in placed.changeset if change.operation == "insert"] == ["ORD-6"]


@needs_workers
def test_constraints_refuse_a_write_and_nothing_of_the_call_stays() -> None:
    code = (
        "db_exec('UPDATE orders SET quantity = 7')\ndb_exec(\"UPDATE OR FAIL customers SET email = 'same'\")\nreturn 1"
    )
    with unread(code, writes=True) as environment:
        replay = environment.replay([call("program"), call("cancel_order", order_id="ORD-1")])
    assert replay.results[0].error == "program: another row of customers already has this email"
    assert [change.key for change in replay.changeset] == ["ORD-1", "PRD-1"]


@needs_workers
def test_text_of_the_host_does_not_reach_the_program() -> None:
    code = "try:\n    db_query('SELECT wrong')\nexcept BaseException as e:\n    return str(e)\nreturn 'more'"
    with unread(code) as environment:
        assert "no such column: wrong" in contained(environment)


@needs_workers
def test_what_is_printed_is_read_by_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    with unread("for _ in range(1000):\n    print('x' * 1000)\nreturn 1") as environment:
        assert environment.replay([call("program")]).results[0].value == 1
    assert capfd.readouterr() == ("", "")


@needs_workers
def test_clock_and_chance_stand_still_even_if_nobody_read_the_program() -> None:
    code = """
        import random, time, datetime
        time.sleep(60)
        return [random.random(), random.randint(0, 10**9), time.time(), str(datetime.datetime.now()), str(hash("x")),
                list({"a", "b", "c"}), id(random)]
    """
    with unread(code) as environment, unread(code) as other:
        first, second = environment.replay([call("program")] * 2).results
        assert first == second == other.replay([call("program")]).results[0]


@needs_workers
def test_a_result_shares_nothing_with_the_next_one() -> None:
    with unread("x = [1]\nreturn [x, x]") as environment:
        first, second = environment.replay([call("program")] * 2).results
        assert isinstance(first.value, list) and isinstance(first.value[0], list)
        first.value[0].append(2)
        assert first.value[1] == [1] and second.value == [[1], [1]]


@pytest.mark.parametrize("attempt", [*SQL, *ROWS])
def test_no_sql_of_a_declared_tool_gets_out(attempt: str) -> None:
    sql = {**SQL, **ROWS}[attempt]
    tool = Tool(name="program", description="", returns=Returns(sql=sql))
    try:
        environment = Environment.load(shop_with(tool))
    except SpecError:
        return
    with environment:
        if attempt in ROWS:
            assert environment.replay([call("program")]).results[0].ok
        else:
            contained(environment)


@pytest.mark.parametrize("attempt", WRITES)
def test_no_write_of_a_declared_tool_takes_the_episode_with_it(attempt: str) -> None:
    effects = ("UPDATE orders SET quantity = 7", WRITES[attempt])
    tool = Tool(name="program", description="", effects=effects, returns=Returns(sql="SELECT 1 AS x"))
    try:
        environment = Environment.load(shop_with(tool))
    except SpecError:
        return
    with environment:
        contained(environment)


@needs_workers
def test_a_worker_is_confined_by_the_kernel() -> None:
    with workers.session() as session:
        session.feed_run("1")
        status = Path(f"/proc/{session.worker_pid}/status").read_text()
        environment = Path(f"/proc/{session.worker_pid}/environ").read_bytes()
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert environment == b""


def confined(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this machine the way a worker is run."""
    program = Path(command[0]).resolve()
    script = str(Path(confinement.__file__))
    libraries = ":".join(workers._libraries(program))
    words = [sys.executable, "-I", "-S", script, str(program), libraries, *command[1:]]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, env={})


@needs_workers
@pytest.mark.parametrize(
    "command",
    [
        ("/bin/cat", "/etc/passwd"),
        ("/bin/cat", "/proc/self/environ"),
        ("/bin/ls", "/"),
        ("/bin/touch", "/tmp/escaped"),
        ("/bin/sh", "-c", "exec /bin/true"),
        ("/bin/sh", "-c", "(true) && echo forked"),
        ("/bin/sh", "-c", "kill -0 $PPID && echo signalled"),
        ("/bin/bash", "-c", "exec 3<>/dev/udp/127.0.0.1/9 && echo connected"),
        ("/bin/sh", "-c", "echo x > /dev/null && echo opened"),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_a_confined_program_cannot_do_what_an_interpreter_taken_over_would_try(command: tuple[str, ...]) -> None:
    ran = confined(*command)
    assert ran.returncode != 0 and ran.stdout == ""
    assert not Path("/tmp/escaped").exists()


@needs_workers
def test_a_confined_program_can_compute() -> None:
    assert confined("/bin/sh", "-c", "echo $((6 * 7))").stdout == "42\n"


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "9007199254740992",
        "-9007199254740992",
        "[1] 2",
        "",
        '{"a": 1, "a": 1}',
        '"\\ud800"',
        '{"\\ud800": 1}',
        "[" * 40 + "]" * 40,
        "[" * 30_000 + "]" * 30_000,
        "1" * 5_000,
        '"' + "x" * 70_000 + '"',
        None,
        b"1",
        ["1"],
    ],
)  # fmt: skip
def test_what_is_not_strict_json_is_refused(text: object) -> None:
    with pytest.raises(NotJson):
        parse_json(text)


@pytest.mark.parametrize("text", ["null", "true", "9007199254740991", "-1.5", '"é\\u00e9"', "[" * 30 + "]" * 30])
def test_strict_json_is_read(text: str) -> None:
    parse_json(text)
