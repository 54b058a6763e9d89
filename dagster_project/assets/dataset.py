"""The dataset of a campaign: the proven tasks of its domains, split, with a blocking check on what training may see."""

from typing import Any

import dagster as dg

from dagster_project import report, stored
from dagster_project.assets.synthesis import proven_tasks
from dagster_project.campaign import load_campaign
from dagster_project.lineage import code_version, consume, record
from dagster_project.partitions import CAMPAIGNS
from dagster_project.resources import Workshop
from generators import splits

PER_CAMPAIGN: dict[str, Any] = {"partitions_def": CAMPAIGNS, "owners": ["team:environments"]}


@dg.asset(
    **PER_CAMPAIGN,
    group_name="dataset",
    kinds={"duckdb"},
    deps=[dg.AssetDep(proven_tasks, partition_mapping=dg.AllPartitionMapping())],
    code_version=code_version(splits),
    check_specs=[dg.AssetCheckSpec("fit_to_train_on", asset="task_dataset", blocking=True)],
)
def task_dataset(context: dg.AssetExecutionContext, workshop: Workshop):  # type: ignore[no-untyped-def]
    """The proven tasks of the campaign's domains in train, validation and test."""
    warehouse = workshop.warehouse()
    campaign = load_campaign(context.partition_key)
    used = [consume(warehouse, "proven_tasks", domain) for domain in campaign.domains]
    proven = [task for batch in used for task in stored.read_tasks(warehouse, batch)]
    tasks = [task for task in proven if campaign.max_calls is None or task.difficulty <= campaign.max_calls]
    divided = splits.split_tasks(tasks, campaign.seed)
    result = record(
        context,
        warehouse,
        {"tasks": stored.task_rows(tasks), "splits": [split.model_dump() for split in divided]},
        inputs=used,
        metadata={"left_out_by_max_calls": len(proven) - len(tasks), **report.dataset(tasks, divided)},
    )
    unproven = stored.unproven(warehouse, tasks)
    return result._replace(check_results=[report.dataset_check(tasks, divided, unproven)])
