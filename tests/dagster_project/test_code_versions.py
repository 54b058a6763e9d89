"""Code versions: a change marks exactly the assets whose data it can change, and what runs is what is counted."""

import ast
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import pytest

from dagster_project.code_versions import MADE_BY, code_version
from dagster_project.definitions import defs
from dagster_project.home import REPOSITORY
from dagster_project.sources import FOLLOWED, Sources, UnknownCode
from envs.environment import Environment
from envs.proof.prove_all import prove_all
from generators.brief import load_brief
from generators.candidates import propose_candidates
from generators.domain import synthesise
from generators.hooked import DomainHooks
from tests.generators import boats
from tests.generators.scripted import Scripted

ENGINE = {"difficulty", "baseline", "rollouts", "evaluation"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the packages, without anything else of the repository."""
    root = tmp_path_factory.mktemp("tree")
    others = shutil.ignore_patterns("__pycache__", "domains", "campaigns")
    for package in FOLLOWED:
        shutil.copytree(REPOSITORY / package, root / package, ignore=others)
    return root


@pytest.fixture(scope="module")
def before(tree: Path) -> dict[str, str]:
    return versions(tree)


def versions(root: Path) -> dict[str, str]:
    sources = Sources(root)
    return {asset: sources.version(*entries) for asset, entries in MADE_BY.items()}


@contextmanager
def rewritten(file: Path, text: str) -> Iterator[None]:
    old = file.read_text()
    file.write_text(text)
    try:
        yield
    finally:
        file.write_text(old)


def with_a_statement_more(text: str, definition: str) -> str:
    """The module, in which one function or class does something else."""
    module = ast.parse(text)
    found = next(node for node in module.body if getattr(node, "name", None) == definition)
    found.body.append(ast.parse("altered = 1").body[0])  # type: ignore[attr-defined]
    return ast.unparse(module)


@pytest.mark.parametrize(
    ("template", "stale"),
    [
        ("phrases", {"candidate_tasks"}),
        ("texts", {"candidate_tasks"}),
        ("lifecycle", {"environment"}),
        ("free_tools", {"environment"}),
        ("document_facts", {"environment", "candidate_tasks"}),  # questions are worded as the documents are
    ],
)
def test_a_changed_prompt_marks_the_assets_that_ask_it(
    tree: Path, before: dict[str, str], template: str, stale: set[str]
) -> None:
    file = tree / "generators" / "prompts" / f"{template}.j2"
    with rewritten(file, file.read_text() + "\nBe brief."):
        after = versions(tree)
    assert {asset for asset in MADE_BY if after[asset] != before[asset]} == stale


@pytest.mark.parametrize(
    ("definition", "stale"),
    [
        ("envs.proof.execution.NotVacuous", {"proven_tasks"}),
        ("generators.phrases.propose_phrases", {"candidate_tasks"}),
        ("generators.lifecycles.propose_lifecycles", {"environment"}),
        ("generators.splits.split_tasks", {"task_dataset"}),
        ("trainer.losses.clipped_ratio_loss", {"checkpoint"}),
        ("trainer.golden.golden_rows", {"warm_policy"}),
        ("trainer.baselines.RuleEngine", {"baseline"}),
        ("trainer.player.Player", ENGINE),
        ("trainer.dialects.compact.Compact", ENGINE | {"warm_policy"}),
        ("dagster_project.report.environment", set()),
    ],
)
def test_changed_code_marks_the_assets_that_run_it(
    tree: Path, before: dict[str, str], definition: str, stale: set[str]
) -> None:
    module, _, name = definition.rpartition(".")
    file = tree.joinpath(*module.split(".")).with_suffix(".py")
    with rewritten(file, with_a_statement_more(file.read_text(), name)):
        after = versions(tree)
    assert {asset for asset in MADE_BY if after[asset] != before[asset]} == stale


def test_comments_and_docstrings_of_functions_mark_nothing(tree: Path, before: dict[str, str]) -> None:
    file = tree / "generators" / "phrases.py"
    module = ast.parse(file.read_text())  # without comments
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            node.body[0] = ast.Expr(ast.Constant("Something else."))
    with rewritten(file, ast.unparse(module)):
        assert versions(tree) == before


def test_a_template_counts_where_another_includes_it(tree: Path, before: dict[str, str]) -> None:
    prompts = tree / "generators" / "prompts"
    (prompts / "shared.j2").write_text("one")
    try:
        with rewritten(prompts / "phrases.j2", (prompts / "phrases.j2").read_text() + '{% include "shared.j2" %}'):
            one = versions(tree)
            (prompts / "shared.j2").write_text("two")
            two = versions(tree)
    finally:
        (prompts / "shared.j2").unlink()
    assert {asset for asset in MADE_BY if one[asset] != two[asset]} == {"candidate_tasks"}
    assert versions(tree) == before


def test_an_entry_point_that_is_gone_is_an_error(tree: Path) -> None:
    with pytest.raises(UnknownCode, match=r"generators\.domain\.synthesize is not in"):
        Sources(tree).version("generators.domain.synthesize")


def test_every_asset_has_the_code_version_of_what_makes_it() -> None:
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == set(MADE_BY)
    for key in graph.get_all_asset_keys():
        assert graph.get(key).code_version == code_version(key.to_user_string())


def test_whatever_runs_and_is_asked_is_counted(tmp_path: Path) -> None:
    (tmp_path / "domain.yaml").write_text(boats.PAGE)
    page, sources = load_brief(tmp_path), Sources(REPOSITORY)
    hooks = DomainHooks()
    llm = Scripted(boats.answer)
    made, ran = traced(lambda: synthesise(page, "boats", llm, hooks))
    asked = {request.template for request in llm.requests}
    counted(sources, "environment", ran, asked)
    llm = Scripted(boats.answer)
    with closing(Environment.load(made.spec)) as environment:
        proposed, ran = traced(lambda: propose_candidates(page, environment, llm, hooks))
        counted(sources, "candidate_tasks", ran, {request.template for request in llm.requests})
        _, ran = traced(lambda: prove_all(environment, proposed.tasks[:6]))
        counted(sources, "proven_tasks", ran, set())


def counted(sources: Sources, asset: str, ran: set[tuple[str, str]], asked: set[str]) -> None:
    reached = sources.reached(*MADE_BY[asset])
    assert len(ran) > 50
    assert ran <= reached.symbols, sorted(ran - reached.symbols)
    assert asked <= reached.templates


def traced(call: Callable[[], object]) -> tuple[object, set[tuple[str, str]]]:
    """What a call gives, and the functions and classes of ours that ran meanwhile."""
    ran: set[tuple[str, str]] = set()

    def hear(frame: FrameType, event: str, _: object) -> None:
        module = str(frame.f_globals.get("__name__"))
        name = frame.f_code.co_qualname.partition(".")[0]
        ours = module.partition(".")[0] in FOLLOWED and frame.f_code.co_filename.startswith(str(REPOSITORY))
        if event == "call" and ours and not name.startswith("<"):
            ran.add((module, name))

    sys.setprofile(hear)
    try:
        return call(), ran
    finally:
        sys.setprofile(None)
