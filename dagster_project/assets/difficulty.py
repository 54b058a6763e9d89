"""How hard the training tasks of a campaign are for its reference policy. Made only where a campaign asks for it."""

from typing import Any

import dagster as dg

from dagster_project import dataset_report
from dagster_project.asset_tables import table_metadata
from dagster_project.assets.dataset import PER_CAMPAIGN, task_dataset
from dagster_project.assets.policies import base_policy, warm_policy
from dagster_project.campaign import Campaign, CampaignError, load_campaign
from dagster_project.code_versions import code_version
from dagster_project.giving import given_campaign
from dagster_project.measuring import measure, reference_policy
from dagster_project.record import consume, record
from dagster_project.resources import Engines, Workshop
from trainer.difficulty import DifficultyConfig
from warehouse.rows.tasks import split_of


@dg.asset(
    **PER_CAMPAIGN,
    group_name="policy",
    kinds={"vllm", "duckdb"},
    deps=[task_dataset, base_policy, warm_policy],
    pool="engine",
    code_version=code_version("difficulty"),
    metadata=table_metadata("difficulty"),
)
def difficulty(context: dg.AssetExecutionContext, workshop: Workshop, engines: Engines) -> dg.MaterializeResult[Any]:
    """pass@k of the reference policy per training task: what decides how often the loop draws it."""
    warehouse, name = workshop.warehouse(), context.partition_key
    campaign, settings = _measuring(name)
    data = consume(warehouse, "task_dataset", name)
    reference = reference_policy(warehouse, engines, workshop.home, campaign, name, settings)
    tasks = split_of(warehouse, data, "train")[: settings.max_tasks]
    difficulties = measure(warehouse, reference, campaign, name, settings, tasks)
    return record(
        context,
        warehouse,
        difficulties.tables,
        inputs=[data, *([reference.made_by] if reference.made_by else [])],
        metadata={"policy": reference.policy.policy_id, **dataset_report.difficulty(difficulties.difficulties, tasks)},
        givens=[given_campaign(name, campaign)],
    )


def _measuring(name: str) -> tuple[Campaign, DifficultyConfig]:
    """A campaign, and how it measures difficulty. Raises CampaignError for one that does not."""
    campaign = load_campaign(name)
    if campaign.difficulty is None:
        raise CampaignError(f"campaign {name} measures no difficulty. Add to its file: difficulty: {{ policy: warm }}.")
    return campaign, campaign.difficulty
