"""A domain of another distribution: a real package, built and installed into a virtual environment of its own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dagster_project.home import REPOSITORY
from generators.discovery import domain_names
from tests.generators.boats import record

DISTRIBUTION = REPOSITORY / "tests" / "distribution"


@dataclass
class Installation:
    """A virtual environment that sees ours, and has the distribution besides."""

    python: Path
    package: Path
    """Where the package was installed."""
    home: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, "ENVLOOM_HOME": str(self.home)}
        return subprocess.run([str(self.python), *words], env=variables, cwd=self.home, capture_output=True, text=True)

    def envloom(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "dagster_project.cli", *words)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    root = tmp_path_factory.mktemp("distribution")
    source = shutil.copytree(DISTRIBUTION, root / "source", ignore=shutil.ignore_patterns("__pycache__"))
    record(source / "harbour", "harbour")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / "venv")], check=True)
    site = root / "venv" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    ours = sysconfig.get_paths()["purelib"]
    (site / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    python = root / "venv" / "bin" / "python"
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", str(source)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True)
    (root / "home").mkdir()
    return Installation(python, site / "harbour", root / "home")


@pytest.fixture
def broken(installed: Installation) -> Iterator[Installation]:
    """The installation with a module that raises when imported."""
    module = installed.package / "domain.py"
    text = module.read_text()
    module.write_text(text + "\n1 / 0\n")
    yield installed
    module.write_text(text)


def test_it_is_found_where_it_is_installed_and_nowhere_else(installed: Installation) -> None:
    code = (
        "from generators.discovery import domain_folder, domain_names; print(domain_folder('harbour'), *domain_names())"
    )
    folder, *names = installed.run("-c", code).stdout.split()
    assert folder == str(installed.package)
    assert "harbour" in names and "library" in names
    assert "harbour" not in domain_names()


def test_it_is_checked_with_its_class_up_to_proven_tasks(installed: Installation) -> None:
    run = installed.envloom("domain", "check", "harbour", "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    report = json.loads(run.stdout)
    assert report["folder"] == str(installed.package)
    assert len(report["tasks"]) == 5 + 2, "sampled ones, and one of its own per wording"
    assert any("hooks" in line and "rows, tasks" in line for line in report["lines"])


def test_it_is_a_partition(installed: Installation) -> None:
    code = "from dagster_project.partitions import DOMAINS; print('harbour' in DOMAINS.get_partition_keys())"
    assert installed.run("-c", code).stdout.split()[-1] == "True"


def test_a_folder_of_its_name_is_refused_with_both_places(installed: Installation, tmp_path: Path) -> None:
    (tmp_path / "harbour").mkdir()
    shutil.copy(DISTRIBUTION / "harbour" / "domain.yaml", tmp_path / "harbour")
    code = (
        f"import os; os.environ['ENVLOOM_DOMAINS'] = {str(tmp_path)!r}\n"
        "from generators.discovery import domain_folder, domain_names; print(*domain_names()); domain_folder('harbour')"
    )
    run = installed.run("-c", code)
    assert {"harbour", "library"} <= set(run.stdout.split())
    assert f"'harbour' exists already in {tmp_path / 'harbour'}" in run.stderr
    assert "envloom-harbour 0.3.0" in run.stderr


def test_a_broken_distribution_breaks_its_own_domain_and_no_other(broken: Installation) -> None:
    run = broken.envloom("domain", "check", "harbour")
    assert run.returncode == 1
    assert "envloom-harbour 0.3.0" in run.stderr and "ZeroDivisionError" in run.stderr
    assert "reinstall the distribution" in run.stderr
    code = "from dagster_project.partitions import DOMAINS; print(*DOMAINS.get_partition_keys())"
    assert {"library", "harbour"} <= set(broken.run("-c", code).stdout.split())


def test_a_distribution_without_its_page_says_what_to_add(installed: Installation) -> None:
    page = installed.package / "domain.yaml"
    text = page.read_text()
    page.unlink()
    try:
        run = installed.envloom("domain", "check", "harbour")
    finally:
        page.write_text(text)
    assert run.returncode == 1
    assert "Add it to the package's data files" in run.stderr.replace("\n", " ")
