"""A stranger's bundle, doctored in every way with its hashes right: nothing leaves the scratch folder, one error."""

import errno
import gzip
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dagster_project.reproduction import unpacking
from dagster_project.reproduction.containment import BundleBroken, path_inside
from envs.record import canonical_json, content_id
from tests.dagster_project.foreign import (
    HEADER,
    HOOKS,
    Archive,
    add_member,
    archive,
    bundle,
    envloom,
    outside,
    refused,
    write_tar,
)
from warehouse.tables import TABLES

__all__ = ["archive", "bundle", "outside"]  # fixtures
pytestmark = pytest.mark.usefixtures("outside")
Attack = Callable[[Archive, str], None]


def leading_to(outside: Path) -> str:
    return "../" * 12 + str(outside / "owned").lstrip("/")


def _held_out(archive: Archive, name: str) -> None:
    archive.give("base_policy", "held_out", name, {"text": "owned"})


def _checkpoint_id(archive: Archive, name: str) -> None:
    archive.header["checkpoint"] = name


def _table(archive: Archive, name: str) -> None:
    archive.batch("brief")["tables"] = [name]


def _listed(archive: Archive, name: str) -> None:
    archive.files[name] = b"owned"


NAMES: dict[str, Attack] = {
    "held-out set": _held_out,
    "campaign": lambda archive, name: archive.rename("base_policy", partition=name),
    "iteration": lambda archive, name: archive.rename("checkpoint", partition=f"{name}-0000"),
    "domain": lambda archive, name: archive.rename("brief", partition=name),
    "run": lambda archive, name: archive.rename("base_policy", run_id=name),
    "data version": lambda archive, name: archive.rename("brief", data_version=name),
    "code version": lambda archive, name: archive.rename("brief", code_version=name),
    "batch": lambda archive, name: archive.rename("brief", id=name),
    "checkpoint": _checkpoint_id,
    "table": _table,
    "file": _listed,
}


@pytest.mark.parametrize("mode", [["--mode", "verify"], ["--mode", "replay", "--trust"]])
@pytest.mark.parametrize("field", NAMES)
def test_a_name_that_leads_out_of_the_bundle_is_refused(
    archive: Archive, outside: Path, tmp_path: Path, field: str, mode: list[str]
) -> None:
    NAMES[field](archive, leading_to(outside))
    refused(envloom("reproduce", archive.write(tmp_path / "evil.tar"), *mode))


@pytest.mark.parametrize("field", [field for field in NAMES if field != "code version"])
@pytest.mark.parametrize("name", ["", ".", "..", "/etc/owned", "a\\..\\b", "C:owned", "a\0b", "a\nb", "x" * 300])
def test_a_name_that_is_no_plain_one_is_refused(archive: Archive, tmp_path: Path, field: str, name: str) -> None:
    NAMES[field](archive, name)
    refused(envloom("reproduce", archive.write(tmp_path / "evil.tar")))


@pytest.mark.parametrize(
    "path", ["../domain.py", "/tmp/owned.py", "a/../../b.py", "a\\b.py", "domain.yaml", "x" * 300 + ".py", "a\0.py"]
)
def test_python_of_a_domain_stays_in_its_folder(archive: Archive, tmp_path: Path, path: str) -> None:
    archive.set_hooks({**HOOKS, path: "owned = True"})
    evil = archive.write(tmp_path / "evil.tar")
    looked = envloom("reproduce", evil, "--json")
    brief = json.loads(looked.stdout.splitlines()[-1])["assets"][0]
    assert looked.exit_code == 1 and "BundleBroken" in brief["told"]
    result = envloom("reproduce", evil, "--mode", "replay", "--trust")
    assert result.exit_code == 2 and "BundleBroken" in result.output


@pytest.mark.parametrize("sources", [["hooks.py"], {"hooks.py": 1}, "text", {"hooks.py": None}])
def test_hooks_that_are_no_python_files_are_named(archive: Archive, tmp_path: Path, sources: object) -> None:
    archive.set_hooks(sources)
    result = envloom("reproduce", archive.write(tmp_path / "evil.tar"), "--mode", "replay", "--trust")
    assert result.exit_code == 2 and "is no object of Python files" in result.output


@pytest.mark.parametrize(
    "name",
    [
        "warehouse.duckdb", "warehouse.duckdb.lock", "models", "models/x", "campaigns/demo.yaml", "held_out/x.jsonl",
        "parts/tasks/x-0.arrow", "state/running/x", "dagster/dagster.yaml", "artefacts/other.json", "rows/extra",
        f"artefacts/{'0' * 32}/../x", f"artefacts/{'0' * 32}/a/b", f"rows/{'0' * 32}/tasks.parquet", "bundle.json",
    ],
)  # fmt: skip
def test_a_bundle_has_no_files_but_rows_and_artefacts(archive: Archive, tmp_path: Path, name: str) -> None:
    archive.files[name] = b"owned"
    refused(envloom("reproduce", archive.write(tmp_path / "evil.tar")))


MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "a way out": ("../../outside/owned", {}),
    "an absolute name": ("/owned", {}),
    "a symbolic link": ("artefacts/link", {"type": tarfile.SYMTYPE, "linkname": "/etc"}),
    "a hard link": ("artefacts/link", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
    "a pipe": ("artefacts/pipe", {"type": tarfile.FIFOTYPE}),
    "a device": ("artefacts/device", {"type": tarfile.CHRTYPE}),
    "a folder": ("artefacts", {"type": tarfile.DIRTYPE}),
    "another header": (HEADER, {}),
    "a sparse file": ("hole", {"pax_headers": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}}),
}


@pytest.mark.parametrize("kind", MEMBERS)
@pytest.mark.parametrize("listed", [False, True])
def test_a_member_that_is_no_plain_file_of_its_own_is_refused(
    archive: Archive, tmp_path: Path, kind: str, listed: bool
) -> None:
    """Also where its name is one of the bundle's, and stands for a file."""
    name, fields = MEMBERS[kind]
    if listed:
        name = next(iter(archive.files))
    evil = archive.write(tmp_path / "evil.tar", lambda opened: add_member(opened, name, **fields))
    refused(envloom("reproduce", evil))


HEADERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "only an id": lambda _: {"id": 1},
    "a list": lambda _: [],
    "a number": lambda _: 1,
    "an unknown field": lambda header: {**header, "more": 1},
    "a version that is true": lambda header: {**header, "bundle": True},
    "no batches": lambda header: {**header, "batches": []},
    "batches of another kind": lambda header: {**header, "batches": [{"id": "../../etc"}]},
    "no givens": lambda header: {name: value for name, value in header.items() if name != "givens"},
    "a given with another id": lambda header: {**header, "givens": {"0" * 32: ["held_out", "x", {"text": ""}]}},
    "files that are numbers": lambda header: {**header, "files": {"rows": 1}},
    "deep JSON": lambda header: {**header, "givens": json.loads("[" * 200 + "]" * 200)},
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_of_another_form_is_refused(archive: Archive, tmp_path: Path, kind: str) -> None:
    header = HEADERS[kind]({name: value for name, value in archive.header.items() if name != "id"})
    if isinstance(header, dict) and "id" not in header:
        header["id"] = content_id(header)
    refused(envloom("reproduce", write_tar(tmp_path / "evil.tar", canonical_json(header), archive.files)))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b'{"bundle": NaN}',
        b"[" * 100_000,
        b'{"bundle": ' + b"9" * 10_000 + b"}",
        b'{"bundle": 2}',
    ],
)
def test_a_header_that_is_no_json_is_refused(archive: Archive, tmp_path: Path, header: bytes) -> None:
    refused(envloom("reproduce", write_tar(tmp_path / "evil.tar", header, archive.files)))


PARTS: dict[str, Attack] = {
    "an unknown asset": lambda archive, _: archive.rename("brief", asset="secrets"),
    "an unknown table": lambda archive, _: archive.batch("brief")["tables"].append("batches"),
    "a table without a file": lambda archive, _: archive.batch("brief")["tables"].append("tasks"),
    "an unknown input": lambda archive, _: archive.batch("brief")["inputs"].append("0" * 32),
    "itself as an input": lambda archive, _: archive.batch("brief")["inputs"].append(archive.batch("brief")["id"]),
    "a batch twice": lambda archive, _: archive.header["batches"].append(archive.batch("brief")),
    "a given of no kind": lambda archive, _: archive.give("brief", "secrets", "x", {}),
    "marks on anything": lambda archive, _: archive.give("brief", "marks", "quarantines", {"marks": [["x", "y", "z"]]}),
    "marks of another form": lambda archive, _: archive.give("brief", "marks", "quarantines", {"marks": {"a": 1}}),
    "a held-out set of numbers": lambda archive, _: archive.give("brief", "held_out", "x", {"text": 1}),
    "a runtime of another form": lambda archive, _: archive.batch("brief").update(runtime={"id": 1}),
    "an edge of another form": lambda archive, _: archive.batch("brief")["edges"].append({"parent_id": "x"}),
    "rows that are no Parquet": lambda archive, _: archive.files.update(
        {name: b"PAR1" for name in archive.files if name.startswith("rows/")}
    ),
    "rows of other columns": lambda archive, _: archive.set_rows("checkpoint", "checkpoints", pa.table({"x": [1]})),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_of_another_form_is_refused(archive: Archive, tmp_path: Path, kind: str) -> None:
    PARTS[kind](archive, "")
    refused(envloom("reproduce", archive.write(tmp_path / "evil.tar")))


def test_an_archive_that_unpacks_to_more_than_it_may_is_stopped(archive: Archive, tmp_path: Path) -> None:
    name = next(name for name in archive.files if name.startswith("rows/"))
    archive.files[name] = bytes(2**20)
    evil = archive.write(tmp_path / "evil.tar.gz")
    assert "GiB" in refused(envloom("reproduce", evil, "--max-gib", "0.0005"))


def test_a_full_disk_is_not_blamed_on_the_archive_and_no_difference(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(unpacking, "_written", fail)
    result = envloom("reproduce", archive.write(tmp_path / "evil.tar"))
    assert result.exit_code == 2 and "DiskFull: " in result.output and "Write it again" not in result.output


@pytest.mark.parametrize(("size", "words"), [(2**40, "times its size"), (2**70, "more than")])
def test_a_member_that_says_it_is_huge_is_refused_before_it_is_read(
    archive: Archive, tmp_path: Path, size: int, words: str
) -> None:
    name = next(iter(archive.files))
    content = archive.write(tmp_path / "evil.tar").read_bytes()
    with tarfile.open(tmp_path / "evil.tar") as opened:
        place = opened.getmember(name).offset
    member = tarfile.TarInfo(name)
    member.size = size
    huge = member.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "evil.tar").write_bytes(content[:place] + huge + content[place + 512 :])
    most = ["--max-gib", 2**20] if size < 2**50 else []
    assert words in refused(envloom("reproduce", tmp_path / "evil.tar", *most))


def test_a_tar_header_without_end_is_not_held_in_memory(tmp_path: Path) -> None:
    member = tarfile.TarInfo("././@PaxHeader")
    member.type, member.size = tarfile.XHDTYPE, 2**30
    with gzip.open(tmp_path / "evil.tar.gz", "wb") as opened:
        opened.write(member.tobuf(tarfile.GNU_FORMAT) + bytes(2**23))
    assert "header that does not end" in refused(envloom("reproduce", tmp_path / "evil.tar.gz"))


def test_a_text_that_stands_in_very_many_rows_is_not_written_out(archive: Archive, tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["x" * 2**20]))
    rows = pa.table(dict.fromkeys(TABLES["checkpoints"].columns, texts))
    archive.set_rows("checkpoint", "checkpoints", rows)
    evil = archive.write(tmp_path / "evil.tar")
    assert evil.stat().st_size < 2**22
    assert "bytes of text" in refused(envloom("reproduce", evil))


def test_a_name_inside_stays_inside_though_a_link_leads_out(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    (folder / "link").symlink_to(tmp_path)
    assert path_inside(folder, "a/b.txt") == folder / "a" / "b.txt"
    with pytest.raises(BundleBroken, match="leads out"):
        path_inside(folder, "link/b.txt")
    (folder / "link").unlink()
