"""What Dagster's UI calls stale, and why, asked of the same resolver on a real history of one domain."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleCauseCategory, StaleStatus
from dagster._core.loader import LoadingContextForTest

from dagster_project.asset_tables import TABLE_OF
from dagster_project.assets import synthesis
from dagster_project.code_versions import MADE_BY
from dagster_project.definitions import ASSETS, defs
from dagster_project.home import REPOSITORY, Home
from dagster_project.partitions import DOMAINS_OF_CAMPAIGN
from dagster_project.resources import resources
from dagster_project.runner import SYNTHESIS
from dagster_project.sources import FOLLOWED, Sources
from generators.discovery import domain_folder


@pytest.fixture
def instance(library_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A copy of a history in which the library has been synthesised once."""
    root = shutil.copytree(library_home.root, tmp_path / "home")
    monkeypatch.setenv("ENVLOOM_HOME", str(root))
    monkeypatch.setenv("DAGSTER_HOME", str(root / "dagster"))
    with dg.DagsterInstance.get() as found:
        yield found


def why(instance: dg.DagsterInstance, given: dg.Definitions = defs) -> dict[str, list[tuple[str, str, str]]]:
    """Per stale asset of the library the causes: what kind, what is said, and of which asset and partition."""
    found = {}
    resolver = CachingStaleStatusResolver(instance, given.resolve_asset_graph(), LoadingContextForTest(instance))
    for asset in SYNTHESIS:
        causes = resolver.get_stale_root_causes(dg.AssetKey(asset), "library")
        status = resolver.get_status(dg.AssetKey(asset), "library")
        assert (status is StaleStatus.STALE) == bool(causes)
        assert status is not StaleStatus.MISSING
        if causes:
            found[asset] = [
                (str(each.category.name), each.reason, f"{each.asset_key.to_user_string()}[{each.partition_key}]")
                for each in causes
            ]
    return found


def materialise(instance: dg.DagsterInstance, asset: str) -> None:
    dg.materialize(ASSETS, selection=[asset], partition_key="library", instance=instance, resources=resources())


def test_what_is_made_again_unchanged_makes_nothing_stale_and_what_has_changed_does(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why(instance) == {}
    materialise(instance, "brief")
    materialise(instance, "environment")
    assert why(instance) == {}

    folder = shutil.copytree(domain_folder("library"), tmp_path / "library")
    page = (folder / "domain.yaml").read_text()
    (folder / "domain.yaml").write_text(page + "seed: 7\n")
    monkeypatch.setattr(synthesis, "domain_folder", lambda _: folder)
    materialise(instance, "brief")
    cause = (StaleCauseCategory.DATA.name, "has a new data version", "brief[library]")
    assert why(instance) == {"environment": [cause], "candidate_tasks": [cause]}, "and not what only follows from them"


def test_every_materialisation_tells_its_rows(instance: dg.DagsterInstance) -> None:
    told = {}
    for asset in SYNTHESIS:
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert event is not None and event.asset_materialization is not None
        metadata = event.asset_materialization.metadata
        told[asset] = [metadata[f"dagster/{name}"].value for name in ("partition_row_count", "row_count")]
        assert told[asset][0] == metadata.get(f"rows/{TABLE_OF.get(asset)}", dg.IntMetadataValue(1)).value
    assert told["brief"] == told["environment"] == [1, 1]
    assert told["candidate_tasks"][0] >= told["proven_tasks"][0] > 100


def test_a_changed_prompt_makes_stale_what_asks_it_and_says_so(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for package in FOLLOWED:
        others = shutil.ignore_patterns("__pycache__", "domains", "campaigns")
        shutil.copytree(REPOSITORY / package, tree / package, ignore=others)
    assert why(instance, as_of(tree)) == {}
    prompt = tree / "generators" / "prompts" / "phrases.j2"
    prompt.write_text(prompt.read_text() + "\nBe brief.")
    cause = (StaleCauseCategory.CODE.name, "has a new code version", "candidate_tasks[library]")
    assert why(instance, as_of(tree)) == {"candidate_tasks": [cause]}


def as_of(tree: Path) -> dg.Definitions:
    """The assets as a repository of these sources would define them; a brief also counts what domains there are."""
    versions = {asset: Sources(tree).version(*entries) for asset, entries in MADE_BY.items() if asset != "brief"}

    def moved(spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(code_version=versions.get(spec.key.to_user_string(), spec.code_version))

    return dg.Definitions(assets=[asset.map_asset_specs(moved) for asset in ASSETS], resources=resources())


def test_a_dataset_waits_for_the_domains_of_its_campaign_only() -> None:
    graph = defs.resolve_asset_graph()
    mapping = graph.get_partition_mapping(dg.AssetKey("task_dataset"), dg.AssetKey("proven_tasks"))
    assert mapping == DOMAINS_OF_CAMPAIGN
    dataset, domains = (graph.get(dg.AssetKey(name)).partitions_def for name in ("task_dataset", "proven_tasks"))
    assert dataset is not None and domains is not None
    needed = mapping.get_upstream_mapped_partitions_result_for_partitions(
        dataset.subset_with_partition_keys(["demo"]), dataset, domains
    )
    assert set(needed.partitions_subset.get_partition_keys()) == {"ecommerce", "library"}
