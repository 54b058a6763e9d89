"""Partitions: by domain (folders), by campaign (files), and dynamically by iteration of a campaign."""

import dagster as dg

from dagster_project.campaign import campaign_names
from generators.brief import domain_folders

DOMAINS = dg.StaticPartitionsDefinition(list(domain_folders()))
CAMPAIGNS = dg.StaticPartitionsDefinition(campaign_names())
ITERATIONS = dg.DynamicPartitionsDefinition(name="iteration")
"""Keys such as `demo-0003`."""
