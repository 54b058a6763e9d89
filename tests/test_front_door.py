"""The names that the packages offer at their roots: light to import, never ambiguous, and documented."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("envs", "serving", "generators", "trainer", "warehouse")
OFFERED = [(room, name) for room in ROOMS for name in import_module(room).__all__]


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize(("room", "name"), OFFERED)
def test_an_offered_name_is_the_object_and_its_docstring_stands_alone(room: str, name: str) -> None:
    offered = getattr(import_module(room), name)
    assert offered.__module__.split(".")[0] == room and offered.__name__ == name
    # Of its own: a class without a docstring would show its base class's.
    words = (offered.__dict__.get("__doc__") if inspect.isclass(offered) else offered.__doc__) or ""
    assert len(words.split()) >= 12, f"{room}.{name}: {words!r}"


def test_the_documentation_lists_every_name() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", (REPOSITORY / "docs" / "python.md").read_text(), re.MULTILINE)
    assert [(room, name) for room, names in rows for name in re.findall(r"`(\w+)`", names)] == [
        (room, name) for room in (room for room, _ in rows) for name in import_module(room).__all__
    ]
    assert {room for room, _ in rows} == {*ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_type_checkers_see_the_names_that_are_offered(room: str) -> None:
    package = import_module(room)
    tree = ast.parse(Path(package.__file__ or "").read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: line.module for line in checked.body if isinstance(line, ast.ImportFrom) for alias in line.names
    }
    assert sorted(seen) == sorted(package.__all__)
    assert all(getattr(import_module(module or ""), name) is getattr(package, name) for name, module in seen.items())
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_root_imports_nothing_heavy_until_a_name_is_asked_for(room: str) -> None:
    heavy = "{'pydantic', 'apsw', 'torch', 'transformers', 'openai', 'duckdb', 'polars', 'faker', 'yaml', 'numpy'}"
    assert python(f"import sys, {room}; print({heavy} & set(sys.modules))") == "set()"


def test_collecting_is_imported_without_torch() -> None:
    assert python("import sys; from trainer import collect, score_group; print('torch' in sys.modules)") == "False"


@pytest.mark.parametrize("name", ["collect", "update"])
@pytest.mark.parametrize(
    "imports",
    [
        "import trainer.{name}; from trainer import {name}",
        "from trainer import {name}; import trainer.{name}; from trainer import {name}",
        "from trainer import {name}; from trainer.{name} import *; from trainer import {name}",
        "import trainer; import trainer.{name}; {name} = trainer.{name}",
    ],
)
def test_a_name_is_the_function_also_where_a_module_has_the_same_name(name: str, imports: str) -> None:
    check = f"print({name}.__module__, callable({name}), trainer.{name} is {name})"
    assert python(f"{imports.format(name=name)}; import trainer; {check}") == f"trainer.{name} True True"


def test_submodules_that_share_no_name_are_imported_as_ever() -> None:
    code = "from trainer import draw; import trainer.jobs; print(draw.__name__, trainer.jobs.__name__)"
    assert python(code) == "trainer.draw trainer.jobs"
    with pytest.raises(ImportError, match="cannot import name 'colect' from 'trainer'"):
        exec("from trainer import colect")


@pytest.mark.parametrize(
    ("imports", "missing", "needs"),
    [
        ("from trainer import collect", "openai", "trainer.collect needs `pip install envloom[train]`"),
        ("from trainer import update", "torch", "trainer.update needs `pip install envloom[train]`"),
        ("from generators import Brief", "yaml", "generators.Brief needs `pip install envloom[generate]`"),
        ("from serving import Client", "openai", "serving.Client needs `pip install envloom[serving]`"),
        ("from warehouse import Warehouse", "duckdb", "warehouse.Warehouse needs `pip install envloom[warehouse]`"),
    ],
)
def test_a_missing_library_is_one_error_that_names_the_extra(imports: str, missing: str, needs: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None  # as if it were not installed
try:
    {imports}
except ModuleNotFoundError as error:
    print(error)
"""
    assert python(code) == f"{needs}: there is no module {missing}."


@pytest.mark.parametrize("room", ["trainer", "serving"])
def test_a_fault_of_our_own_is_not_taken_for_a_missing_extra(room: str) -> None:
    name, module = {"trainer": ("collect", "trainer.player"), "serving": ("Client", "serving.answers")}[room]
    code = f"""
import sys
sys.modules[{module!r}] = None
try:
    from {room} import {name}
except ModuleNotFoundError as error:
    print('pip install' in str(error), error.name)
"""
    assert python(code) == f"False {module}"
