"""A person writes a brief by hand: what is wrong is said with file, field and what would be right."""

from pathlib import Path

import pytest

from generators.brief import DomainError, load_brief
from generators.diagnosis import of_page
from generators.discovery import BUILT_IN, UnknownDomain, domain_folder, domain_folders, domain_names, unusable
from generators.hook_files import python_of_domains
from generators.hooked import load_hooks
from generators.scaffold import scaffold

GOOD = """
title: Bike rental
description: A shop lends bikes by the day. Riders book, fetch and bring back bikes, and ask what is free.
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder of domains."""
    monkeypatch.setenv("ENVLOOM_DOMAINS", str(tmp_path))
    return tmp_path


def brief_with(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "domain.yaml").write_text(text)
    return folder


def test_a_short_brief_is_enough(tmp_path: Path) -> None:
    assert load_brief(brief_with(tmp_path, GOOD)).sizes.tools > 0


@pytest.mark.parametrize("clock", ["2026-03-02T09:00:00", "2026-03-02 09:00", "'2026-03-02T09:00:00'"])
def test_a_clock_may_be_written_as_yaml_writes_it(tmp_path: Path, clock: str) -> None:
    assert load_brief(brief_with(tmp_path, f"{GOOD}clock: {clock}")).clock == "2026-03-02T09:00:00"


@pytest.mark.parametrize(
    ("text", "field", "remedy"),
    [
        (GOOD + "entitys: {}", "entitys", "Did you mean entities?"),
        (GOOD + "wheels: 2", "wheels", "Known: title, description"),
        (GOOD + "sizes: {row: 3}", "sizes.row", "Did you mean rows?"),
        (GOOD + "sizes: {rows: 3}", "sizes.rows", "greater than or equal to 8"),
        (GOOD + "sizes: 40", "sizes", "{ rows: 40, tools: 16, tasks: 80 }"),
        (GOOD + "clock: tomorrow", "clock", "such as 2026-03-02T09:00:00"),
        (GOOD + "clock: '2026-03-02T09:00:00+01:00'", "clock", "no time zone"),
        (GOOD + "entities: {Big Order: x, b: y}", "entities", "lower case"),
        (GOOD + "entities: [rider, bike]", "entities", "a mapping of names to hints"),
        (GOOD + "entities: {rider: [name], bike: y}", "entities.rider", "a mapping of names to hints"),
        (GOOD + "entities:\n  bike: x\n  bike: y", "domain.yaml", "'bike' is there twice"),
        (GOOD + "rules: A bike can be lent.", "rules", "a list of sentences"),
        (GOOD + "seed: -1", "seed", "a whole number from 0"),
        (GOOD + "seed: 9007199254740992", "seed", "9007199254740991"),
        (GOOD + "seed: true", "seed", "a whole number"),
        (GOOD + "seed: 1.0", "seed", "a whole number"),
        (GOOD + "seed: '1'", "seed", "a whole number"),
        (GOOD + "seed: 1_000", "seed", "a whole number"),
        (GOOD + "seed: 010", "seed", "a whole number"),
        (GOOD + "seed: 1:30", "seed", "a whole number"),
        (GOOD + "seed: 1e3", "seed", "a whole number"),
        (GOOD + "seed: .inf", "seed", "a whole number"),
        (GOOD + "seed: .nan", "seed", "a whole number"),
        (GOOD + f"seed: {'9' * 6000}", "seed", "a whole number"),
        (GOOD + "seed: 2026-03-02", "seed", "a whole number"),
        (GOOD + "sizes: {rows: '40'}", "sizes.rows", "plain digits"),
        (GOOD + "answers_seed: 9007199254740992", "answers_seed", "9007199254740991"),
        (GOOD + "clock: 2026-02-29", "clock", "is no date and time"),
        (GOOD + "clock: 2026-02-29T09:00:00", "clock", "is no date and time"),
        (GOOD + "clock: 2026-03-02T99:99:99", "clock", "is no date and time"),
        (GOOD + "clock: 9999-12-31T23:59:59", "clock", "1900 to 2199"),
        (GOOD + "clock: 0001-01-01", "clock", "1900 to 2199"),
        (GOOD + "clock: 2026-03-02T09:00:00Z", "clock", "no time zone"),
        (GOOD + "clock: 2026-03-02T09:00:00.5", "clock", "no fraction"),
        (GOOD + "rules: [1984]", "rules.0", "put it in quotes"),
        (GOOD + "entities: {rider: 5, bike: y}", "entities.rider", "put it in quotes"),
        ("title: Bike rental", "description", "40 to 4000 letters"),
        ("- a\n- b", "domain.yaml", "mapping"),
        ("title: [", "domain.yaml", "not YAML"),
        ("title: Bikes: to rent", "domain.yaml", "Quote texts that contain a colon"),
    ],
)
def test_a_malformed_brief_names_the_field_and_what_is_allowed(
    tmp_path: Path, text: str, field: str, remedy: str
) -> None:
    with pytest.raises(DomainError) as error:
        load_brief(brief_with(tmp_path, text))
    assert field in str(error.value)
    assert remedy in str(error.value)
    assert "domain.yaml" in str(error.value)


def test_every_wrong_field_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(DomainError) as error:
        load_brief(brief_with(tmp_path, "title: X\nsizes: {rows: 1}\n"))
    assert [field in str(error.value) for field in ("title", "description", "sizes.rows")] == [True] * 3


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "domain.yaml").write_bytes(b"title: \xff\xfe")
    with pytest.raises(DomainError, match="not YAML"):
        load_brief(tmp_path)


def test_a_missing_brief_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="envloom domain new"):
        load_brief(tmp_path)


@pytest.mark.parametrize(
    ("entities", "where", "remedy"),
    [
        ("{ride: 'a trip of one rider', rider: 'a person with a status (new, old)'}", "entities.ride", "Move rider"),
        ("{rider: 'a person', ride: 'a trip of one rider, with a status'}", "entities.ride", "order of its life"),
        ("{rider: 'a person', ride: 'a trip of one rider'}", "entities", "Give one a status"),
        ("{rider: 'a person', ride: 'a trip with a status (new, old)'}", "entities", "what belongs to what"),
    ],
)
def test_a_page_that_promises_little_is_advised_without_a_model(
    tmp_path: Path, entities: str, where: str, remedy: str
) -> None:
    found = list(of_page(load_brief(brief_with(tmp_path, f"{GOOD}entities: {entities}"))))
    assert any(each.where == where and remedy in each.remedy for each in found)


def test_a_rule_about_nothing_is_given_to_no_prompt_and_that_is_told(tmp_path: Path) -> None:
    text = GOOD + "entities: {rider: a person, bike: 'of one rider, with a status (free, lent)'}\nrules: [All is well.]"
    assert [each.where for each in of_page(load_brief(brief_with(tmp_path, text)))] == ["rules.0"]


def test_too_few_tasks_to_measure_the_verifiers_are_advised_against(tmp_path: Path) -> None:
    brief = load_brief(brief_with(tmp_path, GOOD + "sizes: {tasks: 40}"))
    assert [each.where for each in of_page(brief)] == ["sizes.tasks"]


def test_the_pages_that_ship_need_no_advice() -> None:
    advised = [(name, str(each)) for name in domain_names() for each in of_page(load_brief(domain_folder(name)))]
    assert advised == []


def test_a_scaffolded_domain_is_one_as_it_is_and_never_overwritten(own: Path) -> None:
    files = scaffold("car_rental", hooks=True)
    assert [file.relative_to(own).as_posix() for file in files] == ["car_rental/domain.yaml", "car_rental/hooks.py"]
    brief = load_brief(domain_folder("car_rental"))
    assert brief.title == "Car rental"
    assert list(of_page(brief)) == []
    assert load_hooks("car_rental").id is not None
    with pytest.raises(DomainError, match="exists already"):
        scaffold("car_rental")
    with pytest.raises(DomainError, match="exists already"):
        scaffold("library")


@pytest.mark.usefixtures("own")
def test_what_the_scaffolded_hooks_show_in_comments_is_python_that_works() -> None:
    """The examples with their comment signs taken away, as a person would."""
    file = scaffold("car_rental", hooks=True)[1]
    file.write_text(file.read_text().replace("        # ", "        "))
    assert load_hooks("car_rental").written == ["rows", "tools", "tasks"]


def test_names_that_are_no_identifiers_are_refused(own: Path) -> None:
    with pytest.raises(DomainError, match="lower case"):
        scaffold("../escape")
    brief_with(own / "Big Shop", GOOD)
    with pytest.raises(DomainError, match="Rename the folder"):
        domain_folder("Big Shop")


def test_every_built_in_folder_is_a_domain() -> None:
    folders = domain_folders()
    assert {"ecommerce", "library"} <= set(folders)
    for name in (path.name for path in BUILT_IN.iterdir() if path.is_dir()):
        load_brief(folders[name])


def test_domains_of_several_folders_are_found_beside_those_that_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        brief_with(tmp_path / name / f"{name}_bikes", GOOD)
    monkeypatch.setenv("ENVLOOM_DOMAINS", f"{tmp_path / 'ours'}:{tmp_path / 'theirs'}")
    assert {"library", "ours_bikes", "theirs_bikes"} <= set(domain_names())
    assert scaffold("boats")[0].parent.parent == tmp_path / "ours", "the first folder takes new ones"


def test_a_domain_that_is_there_twice_is_told_with_both_places(own: Path) -> None:
    brief_with(own / "library", GOOD)
    with pytest.raises(DomainError, match=r"'library' exists already in .*generators/domains/library"):
        domain_folder("library")


@pytest.mark.parametrize(
    "name", ["car-rental", "shop.bak", "Library", "2shops", "x", "b" * 40, "library (copy)", "a...b"]
)
def test_a_folder_that_can_be_no_domain_is_reported_and_leaves_the_others_alone(own: Path, name: str) -> None:
    brief_with(own / name, GOOD)
    brief_with(own / "bikes", GOOD)
    assert {"bikes", "library"} <= set(domain_names()) == set(domain_folders())
    assert list(unusable()) == [name]
    with pytest.raises(DomainError, match="Rename the folder"):
        domain_folder(name)
    assert scaffold("boats")


@pytest.mark.parametrize("file", ["domain.yml", "domain.YAML", "Domain.yaml"])
def test_a_page_of_another_name_is_named_and_not_passed_over(own: Path, file: str) -> None:
    brief_with(own / "bikes", GOOD)
    (own / "bikes" / "domain.yaml").rename(own / "bikes" / file)
    assert list(unusable()) == [f"bikes/{file}"]
    with pytest.raises(DomainError, match=f"{file}: the page of a domain is called domain.yaml. Rename it."):
        domain_folder("bikes")


def test_hidden_folders_and_folders_without_a_page_are_no_domains(own: Path) -> None:
    brief_with(own / ".library", GOOD)
    (own / "notes").mkdir()
    (own / "away").mkdir()
    (own / "away" / "domain.yaml").symlink_to(own / "nowhere.yaml")
    assert unusable() == {}
    assert not {".library", "notes", "away"} & set(domain_names())


def test_a_page_that_is_no_file_breaks_its_own_domain(own: Path) -> None:
    (own / "bikes" / "domain.yaml").mkdir(parents=True)
    assert "bikes" in domain_names()
    with pytest.raises(DomainError, match=r"bikes/domain\.yaml"):
        load_brief(domain_folder("bikes"))


def test_python_that_cannot_be_read_breaks_its_own_domain(own: Path) -> None:
    brief_with(own / "bikes", GOOD)
    before = python_of_domains()
    (own / "bikes" / "hooks.py").write_bytes(b"# caf\xe9\n")
    (own / "bikes" / "folder.py").mkdir()
    assert python_of_domains() != before
    with pytest.raises(DomainError, match=r"hooks\.py"):
        load_hooks("bikes")


@pytest.mark.parametrize("name", ["no", "null", "true", "none", "ab_"])
def test_every_name_scaffolds_a_domain_that_works(own: Path, name: str) -> None:
    scaffold(name, hooks=True)
    assert load_brief(own / name).title
    assert load_hooks(name).id


def test_a_folder_that_cannot_be_written_is_named(own: Path) -> None:
    (own / "boats").write_text("a file")
    with pytest.raises(DomainError, match=r"boats: cannot be written"):
        scaffold("boats")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVLOOM_DOMAINS", str(tmp_path / "nowhere"))
    with pytest.raises(DomainError, match=r"ENVLOOM_DOMAINS: .*nowhere is no folder"):
        domain_names()


def test_an_unknown_domain_is_told_with_the_likeliest(own: Path) -> None:
    with pytest.raises(UnknownDomain, match=r"Did you mean library\? Known: .*ecommerce"):
        domain_folder("libary")
    (own / "bikes").mkdir()
    with pytest.raises(DomainError, match=r"bikes: has no domain\.yaml"):
        domain_folder("bikes")
