"""Partitions: by domain (folders and entry points), by campaign (files), and dynamically by iteration of a campaign."""

import dagster as dg

from dagster_project.campaign import CampaignError, campaign_names, load_campaign
from generators.discovery import domain_names

DOMAINS = dg.StaticPartitionsDefinition(domain_names())
CAMPAIGNS = dg.StaticPartitionsDefinition(campaign_names())


def _campaigns_of_domains() -> dict[str, list[str]]:
    """Domain → the campaigns that train on it. One that cannot be read says so when it is run, and has all domains."""
    known = domain_names()
    found: dict[str, list[str]] = {}
    for name in campaign_names():
        try:
            domains = set(load_campaign(name).domains) & set(known)
        except CampaignError:
            domains = set(known)
        for domain in domains:
            found.setdefault(domain, []).append(name)
    return found


DOMAINS_OF_CAMPAIGN = dg.StaticPartitionMapping(_campaigns_of_domains())
"""Only the domains that a campaign names: tasks of another one are no news to it."""
ITERATIONS = dg.DynamicPartitionsDefinition(name="iteration")
"""Keys such as `demo-0003`."""
