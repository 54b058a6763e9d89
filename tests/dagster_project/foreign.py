"""Bundles of a stranger: a small real one, and the same with anything in it changed and every hash computed anew."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner, Result

from dagster_project.campaign import Campaign
from dagster_project.cli import app
from dagster_project.giving import given_campaign
from dagster_project.home import Home
from dagster_project.reproduction.bundles import write_bundle
from envs.record import canonical_json, content_id
from generators.brief import Brief
from serving.models import fingerprint_here
from trainer.checkpoint import (
    ADAPTER,
    ADAPTER_CONFIG,
    CheckpointManifest,
    companions,
    file_sha256,
    seal_checkpoint,
    stable_adapter_config,
)
from trainer.settings import UpdateConfig
from warehouse.givens import Given
from warehouse.queries.checkpoint_history import find_target
from warehouse.tables import TABLES
from warehouse.warehouse import Batch, Warehouse

POLICY = "smollm2-135m-instruct"
HEADER = "bundle.json"
PAGE = Brief(title="Library", description="Lends books to members, who ask what is there and have it held for them.")
HOOKS = {"hooks.py": "from generators.hooks import Hooks\n\n\nclass Own(Hooks):\n    pass\n"}


def small_bundle(folder: Path) -> Path:
    """A bundle of a brief with hooks, a base policy with its campaign and a held-out set, and a checkpoint."""
    home = Home(folder)
    for path in (home.parts, home.artefacts):
        path.mkdir(parents=True)
    warehouse = Warehouse(home.warehouse, home.parts)
    hooks = content_id(HOOKS)
    version = content_id(PAGE.canonical_fields() | {"hooks": hooks})
    (home.artefacts / f"brief-{version}.json").write_text(PAGE.model_dump_json())
    (home.artefacts / f"hooks-{hooks}.json").write_text(json.dumps(HOOKS))
    fingerprint = fingerprint_here(POLICY, home.models)
    settings = given_campaign("demo", Campaign(domains=("library",), policy=POLICY))
    held_out = Given("held_out", "kept.jsonl", {"text": '{"instruction": "Cancel order 7."}'})
    brief = _record(warehouse, "brief", "library", {}, data_version=version)
    base_row = {"id": fingerprint, "kind": "base", "path": "/nowhere", "base_model": fingerprint, "config": {}}
    base = _record(warehouse, "base_policy", "demo", {"checkpoints": [base_row]}, givens=[settings, held_out])
    manifest = sealed_adapter(home.artefacts, fingerprint)
    config = UpdateConfig.model_validate(manifest.config).model_dump(mode="json")
    row = {
        "id": manifest.id, "base_model": manifest.base_model, "kind": "update", "campaign": "demo", "iteration": 0,
        "path": str(home.artefacts / manifest.id), "adapter_sha256": manifest.adapter_sha256, "seed": manifest.seed,
        "config": config, "code_version": manifest.code_version, "record": manifest.canonical(),
    }  # fmt: skip
    more = {"data_version": manifest.adapter_sha256, "inputs": [brief, base], "givens": [settings]}
    _record(warehouse, "checkpoint", "demo-0000", {"checkpoints": [row]}, **more)
    write_bundle(home, find_target(warehouse, "demo-0000"), folder / "small.tar")
    return folder / "small.tar"


def sealed_adapter(folder: Path, fingerprint: str) -> CheckpointManifest:
    """A checkpoint with an adapter of one layer."""
    import numpy as np

    def write(work: Path) -> None:
        layer = "base_model.model.model.layers.0.self_attn.q_proj"
        ones = {f"{layer}.lora_A.weight": np.ones((2, 4), "f4"), f"{layer}.lora_B.weight": np.ones((4, 2), "f4")}
        save_file(ones, work / ADAPTER)
        settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": {"q_proj"}}
        (work / ADAPTER_CONFIG).write_bytes(stable_adapter_config(settings, POLICY))

    return seal_checkpoint(
        folder,
        write,
        lambda work: CheckpointManifest(
            parent=None, base_model=fingerprint, kind="update", batch_ids=(), rows_sha256="0" * 64,
            config={"lora": {"r": 2, "alpha": 4}}, seed=0, code_version="c0de", versions={},
            adapter_sha256=file_sha256(work / ADAPTER), files=companions(work),
        ),
    )[1]  # fmt: skip


def _record(
    warehouse: Warehouse, asset: str, partition: str, tables: dict[str, list[dict[str, Any]]], **more: Any
) -> Batch:
    rows = {name: [dict.fromkeys(TABLES[name].columns) | row for row in part] for name, part in tables.items()}
    return warehouse.record_batch(asset, partition, rows, run_id="r", code_version="c0de", **more)


@dataclass
class Archive:
    """A bundle taken apart."""

    header: dict[str, Any]
    files: dict[str, bytes]

    @classmethod
    def read(cls, path: Path) -> "Archive":
        with tarfile.open(path) as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
        return cls(json.loads(files.pop(HEADER)), files)

    def batch(self, asset: str) -> dict[str, Any]:
        return next(batch for batch in self.header["batches"] if batch["asset"] == asset)

    def rename(self, asset: str, /, **fields: Any) -> None:
        """Change a batch, whose id follows; everything that named it names it still."""
        batch = self.batch(asset)
        before = batch["id"]
        batch.update(fields)
        parts = [batch[name] for name in ("asset", "partition", "data_version", "run_id")]
        after = fields.get("id") or content_id(parts)
        self.header = json.loads(json.dumps(self.header).replace(before, json.dumps(after)[1:-1]))
        self.files = {name.replace(before, after): content for name, content in self.files.items()}

    def give(self, asset: str, kind: str, name: str, record: Any) -> None:
        """Have a batch given something else of this kind."""
        batch, givens = self.batch(asset), self.header["givens"]
        batch["givens"] = [each for each in batch["givens"] if givens[each][0] != kind]
        identity = content_id([kind, name, record])
        givens[identity] = [kind, name, record]
        batch["givens"].append(identity)

    def set_hooks(self, sources: Any) -> None:
        """Have the brief's domain come with other Python."""
        hooks = content_id(sources)
        version = content_id(PAGE.canonical_fields() | {"hooks": hooks})
        self.files = {name: text for name, text in self.files.items() if not name.startswith("artefacts/hooks-")}
        page = next(name for name in self.files if name.startswith("artefacts/brief-"))
        self.files[f"artefacts/brief-{version}.json"] = self.files.pop(page)
        self.files[f"artefacts/hooks-{hooks}.json"] = json.dumps(sources).encode()
        self.rename("brief", data_version=version)

    def set_campaign(self, **settings: Any) -> None:
        """Have every batch made with these settings of the campaign."""
        record = Campaign.model_validate({"domains": ["library"], "policy": POLICY, **settings}).model_dump(mode="json")
        for asset in ("base_policy", "checkpoint"):
            self.give(asset, "campaign", "demo", record)

    def set_rows(self, asset: str, table: str, rows: pa.Table) -> None:
        sink = BytesIO()
        pq.write_table(rows, sink)
        self.files[f"rows/{self.batch(asset)['id']}/{table}.parquet"] = sink.getvalue()

    def write(self, path: Path, add: Callable[[tarfile.TarFile], None] = lambda _: None) -> Path:
        """The archive with all hashes right, and what `add` puts at its end."""
        files = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        header = {name: value for name, value in self.header.items() if name != "id"} | {"files": files}
        return write_tar(path, canonical_json(header | {"id": content_id(header)}), self.files, add)


def write_tar(
    path: Path, header: bytes, files: dict[str, bytes], add: Callable[[tarfile.TarFile], None] = lambda _: None
) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in {HEADER: header, **files}.items():
            add_member(archive, name, content)
        add(archive)
    return path


def add_member(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, BytesIO(content))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundle(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def archive(bundle: Path) -> Archive:
    return Archive.read(bundle)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every attack aims at, and that is empty when the test ends."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    monkeypatch.setenv("ENVLOOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    monkeypatch.setenv("SPIED_API_KEY", "the reader's key")
    yield tmp_path / "outside"
    assert not list((tmp_path / "outside").iterdir())
    assert {path.name for path in tmp_path.iterdir()} <= {"outside", "scratch", "home", "evil.tar", "evil.tar.gz"}
    assert not list((tmp_path / "scratch").iterdir()), "what was unpacked is gone"


def envloom(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(result: Result) -> str:
    """One error, which is no traceback."""
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit), result.output
    assert "BundleBroken: " in result.output and "Write it again where it came from" in result.output
    return result.output
