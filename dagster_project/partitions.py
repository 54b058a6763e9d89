"""Partitions: by domain (folders and entry points), by campaign (files), and dynamically by iteration of a campaign."""

import dagster as dg

from dagster_project.campaign import campaign_names
from generators.discovery import domain_names

DOMAINS = dg.StaticPartitionsDefinition(domain_names())
CAMPAIGNS = dg.StaticPartitionsDefinition(campaign_names())
ITERATIONS = dg.DynamicPartitionsDefinition(name="iteration")
"""Keys such as `demo-0003`."""
