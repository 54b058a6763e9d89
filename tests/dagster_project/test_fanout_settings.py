"""A campaign's workers and the servers they reach have to fit each other."""

import pytest
from pydantic import ValidationError

from dagster_project.campaign import Campaign

URLS = ["http://one:8000/v1", "http://two:8000/v1"]


def campaign(workers: dict[str, object], **engine: object) -> Campaign:
    return Campaign.model_validate({"domains": ["retail"], "rollouts": {"workers": workers}, "engine": engine})


def test_a_campaign_chooses_its_workers() -> None:
    chosen = campaign({"kind": "ray", "count": 2, "address": "auto"}, base_urls=URLS)
    assert (chosen.rollouts.workers.kind, chosen.rollouts.workers.count) == ("ray", 2)
    assert chosen.evaluation.rollout_config(chosen.rollouts).workers == chosen.rollouts.workers


@pytest.mark.parametrize(
    ("workers", "engine", "remedy"),
    [
        ({"kind": "ray", "address": "auto"}, {}, "name servers that the cluster reaches in engine.base_urls"),
        ({"kind": "ray"}, {"base_urls": URLS}, "2 servers for 1 workers; raise rollouts.workers.count"),
        ({"count": 2}, {"base_urls": URLS, "adapters": "merged"}, "set it to `served`"),
    ],
)
def test_workers_and_servers_that_do_not_fit_are_refused(workers, engine, remedy) -> None:
    with pytest.raises(ValidationError, match=remedy):
        campaign(workers, **engine)
