"""A campaign in figures, beside its evaluations (`history`): what was rejected, trained, and written in tokens."""

from collections.abc import Sequence
from typing import Any

from warehouse.warehouse import Warehouse

REJECTIONS = """
SELECT domain, stage, reason, count(*) AS rejected FROM current_rejections
WHERE domain IN (SELECT unnest(?)) GROUP BY ALL ORDER BY domain, rejected DESC, stage, reason
"""
TRAINING = """
SELECT u.iteration, u.parent_checkpoint AS parent, u.checkpoint_id AS checkpoint, u.n_rollouts AS rows,
  u.n_tokens AS trained_tokens, u.loss, u.grad_norm, u.counts
FROM current_updates u WHERE u.campaign = ? ORDER BY u.iteration NULLS FIRST
"""
TOKENS = """
SELECT 'synthesis' AS stage, count(*) AS requests,
  CASE WHEN count(*) = count(prompt_tokens) THEN sum(prompt_tokens) END AS prompt,
  CASE WHEN count(*) = count(completion_tokens) THEN sum(completion_tokens) END AS completion
FROM (SELECT DISTINCT id, prompt_tokens, completion_tokens FROM current_llm_calls
      WHERE partition IN (SELECT unnest($domains)))
UNION ALL
SELECT purpose, sum(n_turns), sum(prompt_tokens), sum(completion_tokens)
FROM (SELECT DISTINCT id, purpose, n_turns, prompt_tokens, completion_tokens FROM current_rollouts
      WHERE campaign = $campaign)
GROUP BY purpose ORDER BY stage
"""


def rejections(warehouse: Warehouse, domains: Sequence[str]) -> list[dict[str, Any]]:
    """How many candidates were rejected, by domain, stage and reason."""
    return warehouse.query(REJECTIONS, [list(domains)]).to_dicts()


def training(warehouse: Warehouse, campaign: str) -> list[dict[str, Any]]:
    """The updates of a campaign, the warm start first."""
    return warehouse.query(TRAINING, [campaign]).to_dicts()


def tokens(warehouse: Warehouse, domains: Sequence[str], campaign: str) -> list[dict[str, Any]]:
    """Requests and tokens by stage. Tokens are None where an endpoint gave no usage."""
    return warehouse.query(TOKENS, {"domains": list(domains), "campaign": campaign}).to_dicts()
