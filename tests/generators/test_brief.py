"""A person writes a brief by hand: what is wrong is said with file, field and what would be right."""

from pathlib import Path

import pytest

from generators.brief import BUILT_IN, DomainError, domain_folders, load_brief, scaffold

GOOD = """
title: Bike rental
description: A shop lends bikes by the day. Riders book, fetch and bring back bikes, and ask what is free.
"""


def brief_with(folder: Path, text: str) -> Path:
    (folder / "domain.yaml").write_text(text)
    return folder


def test_a_short_brief_is_enough(tmp_path: Path) -> None:
    assert load_brief(brief_with(tmp_path, GOOD)).sizes.tools > 0


@pytest.mark.parametrize(
    ("text", "field", "remedy"),
    [
        (GOOD + "entitys: {}", "entitys", "entities"),
        (GOOD + "sizes: {row: 3}", "sizes.row", "rows"),
        (GOOD + "sizes: {rows: 3}", "sizes.rows", "greater than or equal to 8"),
        (GOOD + "clock: tomorrow", "clock", "isoformat"),
        (GOOD + "clock: '2026-03-02T09:00:00+01:00'", "clock", "no time zone"),
        (GOOD + "entities: {Big Order: x, b: y}", "entities", "lower case"),
        ("title: Bike rental", "description", "required"),
        ("- a\n- b", "domain.yaml", "mapping"),
        ("title: [", "domain.yaml", "not YAML"),
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


def test_a_missing_brief_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="envloom domain new"):
        load_brief(tmp_path)


def test_a_scaffolded_brief_can_be_read_and_is_never_overwritten(tmp_path: Path) -> None:
    file = scaffold("car_rental", tmp_path)
    assert load_brief(file.parent).title == "Car rental"
    with pytest.raises(DomainError, match="exists already"):
        scaffold("car_rental", tmp_path)


def test_names_that_are_no_identifiers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="lower case"):
        scaffold("../escape", tmp_path)


def test_every_built_in_folder_is_a_domain() -> None:
    folders = domain_folders()
    assert {"ecommerce", "library"} <= set(folders)
    for name in (path.name for path in BUILT_IN.iterdir() if path.is_dir()):
        load_brief(folders[name])
