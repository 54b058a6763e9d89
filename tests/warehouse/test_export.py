"""A dataset folder: whole or not at all, the same bytes for the same rows, columns that mean what the card says."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from envs.fates import MASKED
from warehouse.asset_names import AssetNames
from warehouse.columns import Column, ListOf, columns
from warehouse.export.card import Description, columns_table, render_card
from warehouse.export.columns import Configuration
from warehouse.export.folder import CARD, SUMS, DatasetFolder, ExportRefused, Limits
from warehouse.export.provenance import UNKNOWN_LICENCE, Provenance, licence_of, provenance
from warehouse.export.quarantined import quarantined_rollouts, quarantined_tasks
from warehouse.export.rollout_columns import COMPLETIONS, EXAMPLES, INSTRUCTIONS, PAIRS, ROLLOUTS, TOKENS
from warehouse.export.rollouts import Pairing, stage_rollouts, stored_rollouts
from warehouse.export.selection import Selection
from warehouse.export.task_columns import ENVIRONMENTS, TASKS, VERL
from warehouse.proven import proven, unproven
from warehouse.quarantine import lift, quarantine
from warehouse.warehouse import Warehouse

ALL = (TASKS, ENVIRONMENTS, VERL, ROLLOUTS, PAIRS, INSTRUCTIONS, EXAMPLES, COMPLETIONS, TOKENS)
ASSETS = AssetNames(
    environment="environment",
    candidates="candidate_tasks",
    proven="proven_tasks",
    dataset="task_dataset",
    once=("baseline",),
    iterated=("rollouts",),
)
CALLS = Configuration(
    "calls",
    "One row per call.",
    (
        *columns("id text Its id.\ntimes int[] Seconds."),
        Column("made", ListOf(columns("tool text Name.\narguments json Whatever it takes.")), "What was called."),
        Column("price", columns("usd real In USD."), "What it cost."),
    ),
)


def call(n: int, **arguments: Any) -> dict[str, Any]:
    made = [{"tool": "refund", "arguments": json.dumps(arguments)}]
    return {"id": str(n), "times": [n, n + 1], "made": made, "price": {"usd": 0.5}}


def write(folder: Path, rows: int = 10) -> Path:
    with DatasetFolder(folder, [CALLS], Limits(group_rows=3, shard_bytes=1)) as dataset:
        for n in range(rows):
            dataset.add("calls", "train", call(n, order=n) if n % 2 else call(n, amount="all", order="O-1"))
        written = dataset.finish()
        nowhere = Provenance([], [], [], [], [], [], [])
        dataset.describe(render_card(Description("Calls", "About calls."), [CALLS], written, nowhere))
    return folder


def test_rows_are_cut_into_groups_and_files_and_load_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    folder = write(tmp_path / "calls")
    files = sorted((folder / "calls").iterdir())
    assert [pq.read_metadata(file).num_rows for file in files] == [3, 3, 3, 1]
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    whole = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert whole["id"] == [str(n) for n in range(10)]
    assert whole[0]["made"] == [{"tool": "refund", "arguments": {"amount": "all", "order": "O-1"}}]
    assert whole[1]["made"] == [{"tool": "refund", "arguments": {"order": 1}}]
    assert list(datasets.load_dataset(str(folder), split="train", streaming=True)) == list(whole)
    assert len(next(iter(datasets.load_dataset(str(folder), split="train", streaming=True).iter(4)))["id"]) == 4


def test_the_same_rows_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "elsewhere" / "other")
    assert (one / SUMS).read_bytes() == (other / SUMS).read_bytes()
    for line in (one / SUMS).read_text().splitlines():
        sha, _, name = line.partition("  ")
        assert hashlib.sha256((one / name).read_bytes()).hexdigest() == sha
    assert (write(tmp_path / "more", rows=11) / SUMS).read_bytes() != (one / SUMS).read_bytes()


def test_a_folder_appears_whole_replaces_an_export_and_nothing_else(tmp_path: Path) -> None:
    folder = write(tmp_path / "calls")
    before = (folder / SUMS).read_bytes()
    with pytest.raises(pa.ArrowInvalid), DatasetFolder(folder, [CALLS], Limits(group_rows=1)) as dataset:
        dataset.add("calls", "train", call(1))
        dataset.add("calls", "train", call(2) | {"times": ["late"]})
    assert (folder / SUMS).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["calls"]
    write(folder, rows=2)
    assert len(list((folder / "calls").iterdir())) == 1
    (folder / SUMS).unlink()
    with pytest.raises(ExportRefused, match="no export"):
        DatasetFolder(folder, [CALLS])
    assert (folder / CARD).exists()


@pytest.mark.parametrize("configuration", ALL, ids=lambda one: one.name)
def test_features_of_the_card_are_the_columns_of_the_files(configuration: Configuration) -> None:
    from datasets import Features

    features = Features._from_yaml_list(configuration.features)
    assert list(features) == configuration.schema.names

    def plain(kind: Any) -> Any:
        if isinstance(kind, pa.BaseExtensionType):
            return pa.string()
        if pa.types.is_list(kind):
            return pa.list_(plain(kind.value_type))
        if pa.types.is_struct(kind):
            return pa.struct([pa.field(field.name, plain(field.type)) for field in kind])
        return kind

    assert [plain(field.type) for field in features.arrow_schema] == configuration.schema.types


@pytest.mark.parametrize("configuration", ALL, ids=lambda one: one.name)
def test_every_column_and_field_is_documented(configuration: Configuration) -> None:
    table = columns_table(configuration)
    names = [row.split(" | ")[0].strip("| `") for row in table.splitlines()[2:]]
    assert len(set(names)) == len(names)
    assert all(row.rstrip(" |").endswith(".") for row in table.splitlines()[2:])


def test_the_newest_dataset_and_its_campaign_are_chosen_unless_told_otherwise(campaign: Warehouse) -> None:
    dataset = campaign.latest_batch("task_dataset")
    rollouts = campaign.latest_batch("rollouts", "demo-0001")
    assert dataset is not None and rollouts is not None
    assert Selection(ASSETS).dataset(campaign) == dataset
    assert Selection(ASSETS, batch_id=rollouts.batch_id).rollouts(campaign) == (
        f"batch {rollouts.batch_id[:8]}",
        [rollouts.batch_id],
    )
    assert Selection(ASSETS, "demo").rollouts(campaign) == ("campaign demo", [rollouts.batch_id])
    for nobody in ("dem", "demo-0001", "%"):
        with pytest.raises(ExportRefused, match=nobody):
            Selection(ASSETS, nobody).rollouts(campaign)
        with pytest.raises(ExportRefused, match=nobody):
            Selection(ASSETS, nobody).dataset(campaign)


def test_a_task_without_a_check_or_with_a_failed_one_is_unproven(campaign: Warehouse, row: Any) -> None:
    assert unproven(campaign, ["task-1", "task-2"]) == ["task-2"]
    failed = row("checks", id="task-1.novel", task_id="task-1", name="novel", outcome="failed")
    campaign.record_batch("proven_tasks", "retail", {"checks": [failed]}, run_id="2", code_version="x")
    assert unproven(campaign, ["task-2", "task-1", "task-2"]) == ["task-1", "task-2"]


@pytest.mark.parametrize(
    ("name", "outcome", "rejects"),
    [
        ("not_vacuous", "failed", True),
        ("not_vacuous", "not_applicable", False),
        ("a check of a later version", "failed", True),
        ("novel", "failed", False),
    ],
)
def test_a_task_is_unproven_by_the_same_checks_wherever_it_is_asked(
    campaign: Warehouse, row: Any, monkeypatch: pytest.MonkeyPatch, name: str, outcome: str, rejects: bool
) -> None:
    monkeypatch.setattr("warehouse.proven._LABELS", ["novel"])
    check = row("checks", id="task-2.x", task_id="task-2", name=name, outcome=outcome)
    campaign.record_batch("proven_tasks", "retail", {"checks": [check]}, run_id="2", code_version="x")
    assert unproven(campaign, ["task-1", "task-2"]) == ["task-2"] * rejects
    assert proven([check]) is not rejects
    assert not proven([])


def test_the_origin_is_that_of_the_batches_behind_and_not_of_newer_ones(campaign: Warehouse, row: Any) -> None:
    dataset = campaign.latest_batch("task_dataset")
    assert dataset is not None
    before = provenance(campaign, [dataset.batch_id], ASSETS)
    assert [batch["asset"] for batch in before.batches] == ["environment", "proven_tasks", "task_dataset"]
    assert before.writers == [
        {"model": "m", "template": "phrases", "template_sha256": f"v{n}", "calls": 1} for n in (1, 2)
    ]
    (rate,) = [row for row in before.checks if row["name"] == "minimal"]
    assert (rate["passed"], rate["failed"], rate["low"]) == (1, 0, 0.0) and 0.7 < rate["high"] < 0.9
    later = [row("rejections", id="later", domain="retail", stage="proof", reason="no_leak")]
    campaign.record_batch("proven_tasks", "retail", {"rejections": later}, run_id="3", code_version="y")
    assert provenance(campaign, [dataset.batch_id], ASSETS) == before


def test_assets_have_the_names_that_the_caller_gives(warehouse: Warehouse, row: Any) -> None:
    names = AssetNames("worlds", "drafts", "kept", "book", once=("first",), iterated=("trials",))
    made = {"run_id": "run", "code_version": "x"}
    tasks = [row("tasks", id=f"task-{n}", domain="shop") for n in range(2)]
    stages = ("programs", "proof")
    lost, failed = ([row("rejections", id=s, domain="shop", stage=s, reason="r")] for s in stages)
    drafts = warehouse.record_batch("drafts", "shop", {"tasks": tasks, "rejections": lost}, **made)
    kept = warehouse.record_batch("kept", "shop", {"tasks": tasks[:1], "rejections": failed}, inputs=[drafts], **made)
    book = warehouse.record_batch("book", "demo", {"tasks": tasks[:1]}, inputs=[kept], **made)
    rollouts = {"rollouts": [row("rollouts", id="rollout-0")]}
    trials = [
        warehouse.record_batch(asset, partition, rollouts, **made).batch_id
        for asset, partition in (
            ("first", "demo"),
            ("trials", "demo-0001"),
            ("trials", "other-0001"),
            ("rollouts", "demo"),
        )
    ]
    assert Selection(names).dataset(warehouse) == book
    assert Selection(names, "demo").rollouts(warehouse) == ("campaign demo", trials[:2])
    with pytest.raises(ExportRefused, match="Materialise book first"):
        Selection(names, "nobodys").dataset(warehouse)
    origin = provenance(warehouse, [book.batch_id], names)
    assert origin.funnel == [{"domain": "shop", "llm_calls": None, "programs": 3, "candidates": 2, "proven": 1}]
    assert [row["where"] for row in origin.reasons] == ["before the proof", "proof"]


def test_a_licence_is_that_of_the_weights_or_as_told_or_unknown() -> None:
    assert licence_of("smollm2-135m-instruct@b179c9523d0e-c1", {}) == "Apache-2.0"
    assert licence_of("a-model@1", {"a-model": "mit"}) == "mit"
    assert licence_of("a-model@1", {}) == UNKNOWN_LICENCE


def test_what_a_mark_reaches_is_left_out_until_it_is_lifted(campaign: Warehouse) -> None:
    dataset, rollouts = campaign.latest_batch("task_dataset"), campaign.latest_batch("rollouts", "demo-0001")
    assert dataset is not None and rollouts is not None
    quarantine(campaign, ("llm_call", "call-2"), "says another thing")
    assert quarantined_tasks(campaign, [dataset.batch_id]).ids == ["task-2"]
    assert quarantined_rollouts(campaign, [rollouts.batch_id]).ids == ["rollout-2", "rollout-3"]
    assert quarantined_rollouts(campaign, [rollouts.batch_id]).reasons == {
        "under quarantine: llm_call call-2, says another thing": 2
    }
    quarantine(campaign, ("rollout", "rollout-0"), "broken")
    assert quarantined_rollouts(campaign, [rollouts.batch_id]).ids == ["rollout-0", "rollout-2", "rollout-3"]
    lift(campaign, ("llm_call", "call-2"), "looked again")
    assert quarantined_tasks(campaign, [dataset.batch_id]).ids == []


def test_pairs_are_the_widest_of_each_group_or_all_and_never_of_masked_rollouts(
    campaign: Warehouse, tmp_path: Path
) -> None:
    batch = campaign.latest_batch("rollouts", "demo-0001")
    assert batch is not None
    rewarded_by, tasks = stage_rollouts(campaign, [batch.batch_id], ["rollout-3"], tmp_path)
    assert tasks == ["task-1", "task-2"] and len(rewarded_by) == 1
    found = list(stored_rollouts(tmp_path))
    assert [one.row["id"] for one in found] == ["rollout-0", "rollout-1", "rollout-2"]
    assert all([turn["rollout_id"] for turn in one.turns] == [one.row["id"]] for one in found)
    pairing = Pairing()
    assert [(a.row["id"], b.row["id"]) for a, b in pairing.of(found)] == [("rollout-0", "rollout-1")]
    assert (pairing.groups, pairing.without_pair) == (2, 1)
    assert not list(Pairing(min_margin=1.0).of(found))
    for fate in MASKED:
        masked = [type(one)({**one.row, "status": str(fate)}, one.turns) for one in found]
        assert not list(Pairing("all").of(masked))
    group = [
        type(found[0])({**found[0].row, "id": name, "reward": reward}, found[0].turns)
        for name, reward in (("b", 1.0), ("c", 0.0), ("a", 1.0), ("d", 0.5))
    ]
    pairs = [(a.row["id"], b.row["id"]) for a, b in Pairing("all").of(group)]
    assert pairs == [("a", "d"), ("a", "c"), ("b", "d"), ("b", "c"), ("d", "c")]
    assert [(a.row["id"], b.row["id"]) for a, b in Pairing().of(reversed(group))] == [("a", "c")]
    noisy = [0.1 + 0.2, 0.3]
    equal = [
        type(found[0])({**found[0].row, "id": str(n), "reward": each}, found[0].turns) for n, each in enumerate(noisy)
    ]
    assert not list(Pairing("all").of(equal)), "only rounding tells their rewards apart"
