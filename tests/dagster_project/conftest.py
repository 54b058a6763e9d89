"""A home with the environment of one domain, synthesised from its recording once for all tests that only read it."""

from pathlib import Path

import pytest

from dagster_project.home import Home
from dagster_project.runner import Step, run_steps


@pytest.fixture(scope="session")
def library_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The home of a project whose warehouse holds the library and its proven tasks."""
    root: Path = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENVLOOM_HOME", str(root))
        patch.setenv("DAGSTER_HOME", str(root / "dagster"))
        home = Home.here().prepare()
        assets = ("brief", "environment", "candidate_tasks", "proven_tasks")
        run_steps([Step(asset, "library") for asset in assets], home)
    return home
