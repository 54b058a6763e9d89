"""Where a dataset comes from: the batches behind it, what was proposed and rejected, how the proof did, which models.

Everything is read from the batches that the exported ones were made from, and not from what is newest today.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from envs.intervals import wilson_interval
from serving.credentials import published
from serving.packaged import PACKAGED
from warehouse.asset_names import AssetNames
from warehouse.warehouse import Warehouse

_WORD = re.compile(r"\$(\w+)")
"""A parameter of a query: DuckDB refuses those that a query does not name."""
UNKNOWN_LICENCE = "not known here"

_ANCESTORS = """
WITH RECURSIVE up AS (
  SELECT unnest($ids) AS id
  UNION
  SELECT e.parent_id FROM lineage_edges e JOIN up ON e.child_id = up.id
  WHERE e.child_kind = 'batch' AND e.parent_kind = 'batch' AND e.relation = 'input'
)
SELECT b.batch_id, b.asset, b.partition, b.data_version, b.code_version FROM batches b JOIN up ON up.id = b.batch_id
ORDER BY b.created_at, b.asset, b.partition, b.batch_id
"""
_FUNNEL = """
WITH counted AS (
  SELECT b.partition AS domain, b.asset, count(*) AS n FROM batches b JOIN batch_members m USING (batch_id)
  WHERE b.batch_id IN (SELECT unnest($ids)) AND m.table_name = 'tasks'
    AND b.asset IN ($candidates, $proven) GROUP BY ALL
), rejected AS (
  SELECT b.partition AS domain, count(*) AS n FROM batches b JOIN batch_rejections r USING (batch_id)
  WHERE b.batch_id IN (SELECT unnest($ids)) AND b.asset = $candidates AND r.stage = 'programs' GROUP BY ALL
), calls AS (
  SELECT b.partition AS domain, count(DISTINCT c.id) AS n FROM batches b JOIN batch_llm_calls c USING (batch_id)
  WHERE b.batch_id IN (SELECT unnest($ids)) AND b.asset IN ($environment, $candidates) GROUP BY ALL
)
SELECT c.domain, any_value(l.n) AS llm_calls,
  sum(c.n) FILTER (c.asset = $candidates)::BIGINT + coalesce(any_value(r.n), 0) AS programs,
  sum(c.n) FILTER (c.asset = $candidates)::BIGINT AS candidates,
  sum(c.n) FILTER (c.asset = $proven)::BIGINT AS proven
FROM counted c LEFT JOIN rejected r USING (domain) LEFT JOIN calls l USING (domain) GROUP BY c.domain ORDER BY c.domain
"""
_REASONS = """
SELECT r.domain, CASE b.asset WHEN $candidates THEN 'before the proof' WHEN $proven THEN 'proof' ELSE 'dataset' END
  AS "where", r.stage, r.reason, count(*) AS n FROM batches b JOIN batch_rejections r USING (batch_id)
WHERE b.batch_id IN (SELECT unnest($ids)) AND b.asset IN ($candidates, $proven, $dataset)
GROUP BY r.domain, b.asset, r.stage, r.reason
ORDER BY r.domain, list_position([$candidates, $proven], b.asset), n DESC, r.stage, r.reason
"""
_CHECKS = """
SELECT c.name, count(*) FILTER (c.outcome = 'passed') AS passed, count(*) FILTER (c.outcome = 'failed') AS failed,
  count(*) FILTER (c.outcome = 'not_applicable') AS not_applicable
FROM (SELECT DISTINCT c.id, c.name, c.outcome FROM batch_checks c WHERE c.batch_id IN (SELECT unnest($ids))) c
GROUP BY c.name ORDER BY c.name
"""
_RATES = """
SELECT DISTINCT a.domain, a.environment_id, a.fault, a.trials, a.wrong, a.low, a.high FROM batch_audits a
WHERE a.batch_id IN (SELECT unnest($ids)) AND a.operator = 'all' ORDER BY a.domain, a.environment_id, a.fault
"""
_WRITERS = """
SELECT c.model, c.template, c.template_sha256, count(DISTINCT c.id) AS calls
FROM batch_llm_calls c WHERE c.batch_id IN (SELECT unnest($ids)) GROUP BY ALL ORDER BY ALL
"""
_POLICIES = """
SELECT DISTINCT c.id, c.kind, c.base_model, c.iteration, c.adapter_sha256, c.code_version
FROM batch_checkpoints c WHERE c.batch_id IN (SELECT unnest($ids))
ORDER BY list_position(['base', 'warm_start', 'update'], c.kind), c.iteration, c.id
"""


@dataclass(frozen=True)
class Provenance:
    """What the card says about the origin of a dataset; rows as the queries above give them."""

    batches: list[dict[str, Any]]
    funnel: list[dict[str, Any]]
    reasons: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    """Per check how often it passed and failed on the candidates, with the Wilson interval of the share that failed."""
    rates: list[dict[str, Any]]
    writers: list[dict[str, Any]]
    """Which model answered which version of which prompt, how often."""
    policies: list[dict[str, Any]]

    @property
    def models(self) -> list[str]:
        """Fingerprints of every model that wrote words or tokens of the dataset."""
        named = [row["model"] for row in self.writers] + [row["base_model"] for row in self.policies]
        return sorted({name for name in named if name})


def provenance(warehouse: Warehouse, batch_ids: Sequence[str], assets: AssetNames) -> Provenance:
    """Of what these batches hold."""
    batches = warehouse.query(_ANCESTORS, {"ids": list(batch_ids)}).to_dicts()
    asked = {"ids": [batch["batch_id"] for batch in batches]} | asdict(assets)
    rows = {
        name: warehouse.query(sql, {word: asked[word] for word in set(_WORD.findall(sql))}).to_dicts()
        for name, sql in (
            ("funnel", _FUNNEL),
            ("reasons", _REASONS),
            ("checks", _CHECKS),
            ("rates", _RATES),
            ("writers", _WRITERS),
            ("policies", _POLICIES),
        )
    }
    for check in rows["checks"]:
        check["low"], check["high"] = wilson_interval(check["failed"], check["failed"] + check["passed"])
    for writer in rows["writers"]:
        writer["model"] = published(writer["model"])
    return Provenance(batches=batches, **rows)


def licence_of(model: str, told: Mapping[str, str]) -> str:
    """The licence of a model by its fingerprint `name@hash`: as told, else of packaged weights as they came."""
    name = model.partition("@")[0]
    if name in told:
        return told[name]
    return PACKAGED[name].licence if name in PACKAGED else UNKNOWN_LICENCE
