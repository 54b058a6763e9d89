"""The dataset of a campaign: the proven tasks of its domains, decontaminated and split, and how hard they are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project import dataset_report
from dagster_project.asset_tables import table_metadata
from dagster_project.assets.synthesis import proven_tasks
from dagster_project.campaign import Campaign, load_campaign
from dagster_project.code_versions import code_version
from dagster_project.giving import given_campaign, given_held_out
from dagster_project.partitions import CAMPAIGNS, DOMAINS_OF_CAMPAIGN
from dagster_project.record import consume, record
from dagster_project.resources import Workshop
from envs.proof import HeldOut
from generators import dataset, decontamination, diversity
from warehouse.proven import unproven
from warehouse.rows.environments import tools_of
from warehouse.rows.measures import diversity_rows
from warehouse.rows.tasks import read_tasks, rejection_rows, task_rows
from warehouse.soundness import sound_tasks
from warehouse.warehouse import Batch, Warehouse

PER_CAMPAIGN: dict[str, Any] = {"partitions_def": CAMPAIGNS, "owners": ["team:environments"]}


@dg.asset(
    **PER_CAMPAIGN,
    group_name="dataset",
    kinds={"duckdb"},
    deps=[dg.AssetDep(proven_tasks, partition_mapping=DOMAINS_OF_CAMPAIGN)],
    code_version=code_version("task_dataset"),
    metadata=table_metadata("task_dataset"),
    check_specs=[
        dg.AssetCheckSpec(
            "fit_to_train_on",
            asset="task_dataset",
            description="Enough training tasks, every task proven, no request on both sides of the split.",
            blocking=True,
        )
    ],
)
def task_dataset(context: dg.AssetExecutionContext, workshop: Workshop):  # type: ignore[no-untyped-def]
    """The campaign's proven tasks in splits; those left out are stored with their reason."""
    warehouse, name = workshop.warehouse(), context.partition_key
    campaign = load_campaign(name)
    used = [consume(warehouse, "proven_tasks", domain) for domain in campaign.domains]
    files = workshop.home.held_out_files(campaign.held_out)
    composed, measured = _composed(warehouse, campaign, used, files)
    shown = dataset_report.dataset(composed) | dataset_report.diversity(measured) | dataset_report.held_out(files)
    givens = [given_campaign(name, campaign), *given_held_out(files)]
    tables = _tables(composed, measured)
    result = record(context, warehouse, tables, inputs=used, metadata=shown, givens=givens)
    doubtful = unproven(warehouse, (task.id for task in composed.tasks))
    return result._replace(check_results=[dataset_report.dataset_check(composed, doubtful)])


def _composed(
    warehouse: Warehouse, campaign: Campaign, used: Sequence[Batch], files: Sequence[Path]
) -> tuple[dataset.Dataset, list[diversity.Diversity]]:
    """The dataset of the proven tasks that are not under quarantine, and how diverse it is."""
    proposed = (task for batch in used for task in read_tasks(warehouse, batch))
    proven, quarantined = sound_tasks(warehouse, proposed)
    tools = tools_of(warehouse, {task.environment_id for task in proven})
    composed = dataset.compose(
        proven,
        tools,
        seed=campaign.seed,
        max_calls=campaign.max_calls,
        held_out=HeldOut(decontamination.read_held_out(files)),
        unseen=campaign.unseen,
    )
    composed = replace(composed, rejections=(*composed.rejections, *quarantined))
    return composed, diversity.diversity_by_domain(composed.tasks, tools, (task.domain for task in composed.repeated))


def _tables(composed: dataset.Dataset, measured: Sequence[diversity.Diversity]) -> dict[str, list[dict[str, Any]]]:
    return {
        "tasks": task_rows(composed.tasks),
        "splits": [split.model_dump() for split in composed.splits],
        "rejections": rejection_rows(composed.rejections),
        "diversity": diversity_rows(measured, composed.tasks),
    }
