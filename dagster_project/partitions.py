"""Partitions: by domain (folders and entry points), by campaign (files), and dynamically by iteration of a campaign.

A file or a folder that cannot be used is logged here and leaves the others alone.
"""

import logging

import dagster as dg

from dagster_project.campaign import CampaignError, campaign_names, load_campaign, unusable_names
from generators.discovery import domain_names, unusable

for _problem in (*unusable().values(), *unusable_names().values()):
    logging.getLogger(__name__).warning("%s", _problem)

DOMAINS = dg.StaticPartitionsDefinition(domain_names())
CAMPAIGNS = dg.StaticPartitionsDefinition(campaign_names())


def _campaigns_of_domains() -> dict[str, list[str]]:
    """Domain → the campaigns that train on it. One that cannot be read says so when it is run, and has all domains."""
    known = domain_names()
    campaigns: dict[str, list[str]] = {}
    for name in campaign_names():
        try:
            domains = set(load_campaign(name).domains) & set(known)
        except CampaignError as error:
            logging.getLogger(__name__).warning("%s", error)
            domains = set(known)
        for domain in domains:
            campaigns.setdefault(domain, []).append(name)
    return campaigns


DOMAINS_OF_CAMPAIGN = dg.StaticPartitionMapping(_campaigns_of_domains())
"""Only the domains that a campaign names: tasks of another one are no news to it."""
ITERATIONS = dg.DynamicPartitionsDefinition(name="iteration")
"""Keys such as `demo-0003`."""
