"""What programs try in order to get out, or to stay: each attempt ends with the world as it was before that call.

They are tried twice: as their reader meets them, which may refuse them at load, and let past the reader, so that what
holds them is shown to be the sandbox and the host.
"""

import pytest

from envs.environment import Environment
from envs.errors import SpecError
from tests.envs.containment import contained
from tests.envs.programs import needs_workers, program_tool, shop_with, unread
from tests.fixtures import call

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
def test_a_program_that_breaks_after_it_wrote_leaves_no_row_and_no_number_behind() -> None:
    code = "new_id('orders')\ndb_exec('DELETE FROM orders')\n{}[1]"
    with unread(code, writes=True) as environment:
        contained(environment)
        placed = environment.replay([call("place_order", customer_id="CUS-1", product_id="PRD-2", quantity=1)])
        assert [change.key for change in placed.changeset if change.operation == "insert"] == ["ORD-6"]


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
