"""The recordings that ship: replayed without a miss, to the same bytes, into an environment a person would accept."""

from pathlib import Path

import pytest

from dagster_project.home import Home
from dagster_project.synthesist import Synthesist
from envs.environment import Environment
from envs.proof import prove
from generators.brief import Brief, load_brief
from generators.candidates import Candidates, propose_candidates
from generators.discovery import BUILT_IN, RECORDING
from generators.documents import document_tasks
from generators.domain import Synthesis, synthesise
from generators.hooked import DomainHooks
from generators.prompts import template_sha256
from generators.tasks import Proposal, propose_tasks
from generators.wording import Wording, propose_wording
from serving.errors import ReplayMiss
from serving.ledger import Ledger, read_header

DOMAINS = sorted(path.parent.name for path in BUILT_IN.glob(f"*/{RECORDING}"))


def replay(domain: str, folder: Path, count: int = 40) -> tuple[Synthesis, Wording, Proposal]:
    recording = BUILT_IN / domain / RECORDING
    ledger = Ledger(folder / f"{domain}.sqlite", read_header(recording)["model"], "replay")
    ledger.import_extract(recording)
    brief = load_brief(BUILT_IN / domain)
    made = synthesise(brief, domain, ledger)
    if brief.kind == "documents":
        wording, tasks, _ = document_tasks(brief, Environment.load(made.spec), ledger, count)
        return made, wording, tasks
    wording, _ = propose_wording(made.spec, ledger)
    return made, wording, propose_tasks(Environment.load(made.spec), wording, count, brief.seed)


def test_both_demo_domains_ship_a_recording() -> None:
    assert {"ecommerce", "library"} <= set(DOMAINS)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_recording_replays_to_the_same_bytes(domain: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, _, tasks = replay(domain, tmp_path / "a")
    second, _, again = replay(domain, tmp_path / "b")
    assert first.spec.canonical() == second.spec.canonical()
    assert [task.canonical() for task in tasks.tasks] == [task.canonical() for task in again.tasks]


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_recording_names_the_prompts_it_was_made_with(domain: str) -> None:
    header = read_header(BUILT_IN / domain / RECORDING)
    assert header["prompts"] == {name: template_sha256(name) for name in header["prompts"]}


@pytest.mark.parametrize("domain", DOMAINS)
def test_most_tools_are_phrased_and_most_tasks_are_proven(domain: str, tmp_path: Path) -> None:
    made, wording, proposal = replay(domain, tmp_path)
    environment = Environment.load(made.spec)
    proven = [task for task in proposal.tasks if prove(task, environment).accepted]
    by_model = sum(phrasing.call_id is not None for phrasing in wording.phrasings.values())
    assert by_model >= 0.7 * len(wording.phrasings)
    assert len(proven) >= 0.5 * len(proposal.tasks)
    # One document takes a search and an opening, two take both twice.
    shortest = {2, 4} if load_brief(BUILT_IN / domain).kind == "documents" else {1, 2}
    assert {task.difficulty for task in proven} >= shortest


def made_of(page: Brief, domain: str, home: Home) -> tuple[Synthesis, Candidates]:
    ledger = Synthesist().ledger(domain, home)
    made = synthesise(page, domain, ledger)
    return made, propose_candidates(page, Environment.load(made.spec), ledger, DomainHooks())


@pytest.mark.parametrize("domain", ["library", "finance", "documents"])
@pytest.mark.parametrize("update", [{"seed": 1}, {"clock": "1900-02-28T09:00:00"}, {"clock": "2199-12-31T23:59:59"}])
def test_another_seed_or_clock_is_another_environment_from_the_same_answers(
    domain: str, update: dict[str, object], tmp_path: Path
) -> None:
    page, home = load_brief(BUILT_IN / domain), Home(tmp_path)
    home.state.mkdir()
    page = page.model_copy(update={"sizes": page.sizes.model_copy(update={"tasks": 12, "rows": 20})})
    before, tasks = made_of(page, domain, home)
    after, others = made_of(page.model_copy(update=update), domain, home)
    assert after.spec.tools == before.spec.tools
    assert after.spec.made_from == before.spec.made_from
    assert after.spec.rows != before.spec.rows
    assert others.wording == tasks.wording
    assert {task.id for task in others.tasks}.isdisjoint(task.id for task in tasks.tasks)


def test_a_request_without_a_recorded_paraphrase_keeps_its_words_and_is_counted(tmp_path: Path) -> None:
    page, home = load_brief(BUILT_IN / "library"), Home(tmp_path)
    home.state.mkdir()
    page = page.model_copy(update={"sizes": page.sizes.model_copy(update={"tasks": 40}), "seed": 1})
    _, candidates = made_of(page, "library", home)
    unrecorded = [each.subject for each in candidates.rejections if each.reason == "not_recorded"]
    assert len(unrecorded) == page.sizes.paraphrases
    assert set(unrecorded) <= {task.instruction for task in candidates.tasks}


def test_other_answers_have_a_seed_of_their_own_and_are_recorded_anew(tmp_path: Path) -> None:
    page, home = load_brief(BUILT_IN / "library"), Home(tmp_path)
    home.state.mkdir()
    with pytest.raises(ReplayMiss, match="columns"):
        made_of(page.model_copy(update={"answers_seed": 1}), "library", home)


@pytest.mark.parametrize("domain", DOMAINS[:1])
def test_a_question_that_was_not_recorded_is_an_error_that_names_the_prompt(domain: str, tmp_path: Path) -> None:
    recording = BUILT_IN / domain / RECORDING
    ledger = Ledger(tmp_path / "l.sqlite", read_header(recording)["model"], "replay")
    ledger.import_extract(recording)
    brief = load_brief(BUILT_IN / domain)
    with pytest.raises(ReplayMiss, match="columns"):
        synthesise(brief.model_copy(update={"description": brief.description + " And more."}), domain, ledger)
