"""A checkpoint is what its manifest says, to the last file; settings of earlier ones are derived and compared."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.small import child_of, small_job
from trainer.checkpoint import (
    ADAPTER_CONFIG,
    MANIFEST,
    WEIGHTS,
    CheckpointBroken,
    CheckpointManifest,
    read_checkpoint,
    require_policy,
)
from trainer.jobs import UpdateJob
from trainer.update import update


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a checkpoint and of one that continues it, under other settings of its own."""
    job = small_job(tmp_path_factory.mktemp("lineage"), lora={"r": 2, "alpha": 6})
    parent = update(job)
    other = job.model_copy(update={"config": job.config.model_copy(update={"lora": {"r": 8, "alpha": 16}})})
    child = update(child_of(parent, UpdateJob.model_validate(other.model_dump())))
    return Path(parent.checkpoint_path), Path(child.checkpoint_path)


def earlier(folder: Path, target: Path, parent: str | None) -> Path:
    """The checkpoint as it was sealed before manifests named all files."""
    manifest = read_checkpoint(folder).model_copy(update={"files": {}, "parent": parent})
    shutil.copytree(folder, target / manifest.id)
    (target / manifest.id / MANIFEST).write_bytes(manifest.canonical())
    return target / manifest.id


@pytest.fixture
def line(lineage: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The younger checkpoint, sealed now or earlier."""
    if request.param == "now":
        shutil.copytree(lineage[1], tmp_path / lineage[1].name)
        return tmp_path / lineage[1].name
    return earlier(lineage[1], tmp_path, earlier(lineage[0], tmp_path, None).name)


@pytest.mark.parametrize("line", ["now", "earlier"], indirect=True)
@pytest.mark.parametrize(
    "settings",
    [
        {"lora_alpha": 600}, {"lora_alpha": 16}, {"r": 4}, {"use_rslora": True}, {"use_dora": True},
        {"fan_in_fan_out": True}, {"bias": "all"}, {"modules_to_save": ["lm_head"]}, {"target_modules": ["q_proj"]},
        {"rank_pattern": {"q_proj": 1}}, {"alpha_pattern": {"q_proj": 60}}, {"layers_to_transform": [0]},
        {"peft_type": "IA3"}, {"megatron_core": "somebodys.module"}, {"megatron_config": {"a": 1}},
        {"init_lora_weights": "eva"}, {"unheard_of": 1}, {"lora_dropout": 0.5}, {"auto_mapping": {"a": "b"}},
    ],
)  # fmt: skip
def test_altered_settings_of_an_adapter_are_refused(line: Path, settings: dict[str, Any]) -> None:
    read_checkpoint(line)
    file = line / ADAPTER_CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    with pytest.raises(CheckpointBroken, match="was altered"):
        read_checkpoint(line)


@pytest.mark.parametrize("line", ["now", "earlier"], indirect=True)
@pytest.mark.parametrize("name", [WEIGHTS, "adapter_model.bin", "tokenizer.json", "chat_template.jinja", ".hidden"])
def test_a_file_that_a_checkpoint_never_had_is_refused(line: Path, name: str) -> None:
    (line / name).write_bytes(b"x")
    with pytest.raises(CheckpointBroken, match="no file of this checkpoint"):
        read_checkpoint(line)


@pytest.mark.parametrize("line", ["now", "earlier"], indirect=True)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_settings_that_are_none_are_refused(line: Path, content: bytes) -> None:
    (line / ADAPTER_CONFIG).write_bytes(content)
    with pytest.raises(CheckpointBroken, match=ADAPTER_CONFIG):
        read_checkpoint(line)


@pytest.mark.parametrize("line", ["earlier"], indirect=True)
def test_an_earlier_checkpoint_without_the_one_it_continues_cannot_be_believed(line: Path) -> None:
    shutil.rmtree(line.parent / str(read_checkpoint(line).parent))
    with pytest.raises(CheckpointBroken, match="not beside it"):
        read_checkpoint(line)


@pytest.mark.parametrize("parent", ["..", "../elsewhere", "/etc", ""])
def test_an_earlier_manifest_leads_to_no_other_folder(lineage: tuple[Path, Path], tmp_path: Path, parent: str) -> None:
    with pytest.raises(CheckpointBroken, match="is no checkpoint's id"):
        read_checkpoint(earlier(lineage[0], tmp_path, parent))


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json"])
def test_what_lies_beside_whole_weights_is_theirs_too(tmp_path: Path, name: str) -> None:
    folder = Path(update(small_job(tmp_path, method="full")).checkpoint_path)
    read_checkpoint(folder)
    (folder / name).write_text((folder / name).read_text() + " ")
    with pytest.raises(CheckpointBroken, match=rf"{name}: sha256 is"):
        read_checkpoint(folder)


@pytest.mark.parametrize("name", ["../manifest.json", "/etc/passwd", "..", "", "a/b", "manifest.json"])
def test_a_manifest_names_files_of_its_folder_only(lineage: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    shutil.copytree(lineage[0], tmp_path / "copy")
    manifest = json.loads((lineage[0] / MANIFEST).read_text())
    (tmp_path / "copy" / MANIFEST).write_text(json.dumps(manifest | {"files": {name: "0" * 64}}))
    with pytest.raises(CheckpointBroken, match=r"files: .* is no file of a checkpoint's folder"):
        read_checkpoint(tmp_path / "copy")


def test_another_checkpoint_and_one_of_another_base_are_not_served(lineage: tuple[Path, Path]) -> None:
    folder = lineage[0]
    require_policy(folder, folder.name, "small@0")
    with pytest.raises(CheckpointBroken, match="and other is to be served"):
        require_policy(folder, "other", "small@0")
    with pytest.raises(CheckpointBroken, match="small@1 is to be served"):
        require_policy(folder, folder.name, "small@1")


def test_an_id_does_not_depend_on_where_the_base_model_lies(tmp_path: Path) -> None:
    ids = set()
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        for method in ("lora", "full"):
            job = small_job(tmp_path / place, method=method)
            made = update(job.model_copy(update={"base_model_name": job.base_model_path}))
            ids.add(made.checkpoint_id)
            assert isinstance(made.manifest, CheckpointManifest) and made.manifest.files
    assert len(ids) == 2
