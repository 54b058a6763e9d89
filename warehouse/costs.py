"""What rollouts cost, computed again from what they used and what it cost then. No stored cost is read for it."""


def exact_sum(amounts: str) -> str:
    """SQL for the sum of a column of amounts, the same in whatever order rows come: doubles are not, decimals are."""
    return f"sum(({amounts})::DECIMAL(38, 15))::DOUBLE"


_CALL_USD = """CASE WHEN c.kind = 'user' THEN 0 WHEN c.kind = 'expert'
    THEN (c.input_tokens * e.input_usd_per_mtok + c.output_tokens * e.output_usd_per_mtok) / 1e6
    ELSE coalesce(map_extract_value(p.call_prices, c.tool), 0) END"""
RECOMPUTED_COST_SQL = f"""
WITH priced AS (
  SELECT id, cost_usd, (toolbox::JSON ->> '$.input_usd_per_mtok')::DOUBLE AS input_usd,
    (toolbox::JSON ->> '$.output_usd_per_mtok')::DOUBLE AS output_usd,
    from_json(toolbox::JSON -> '$.call_prices_usd', '"MAP(VARCHAR, DOUBLE)"') AS call_prices,
    from_json(toolbox::JSON -> '$.experts',
      '[{{"name": "VARCHAR", "input_usd_per_mtok": "DOUBLE", "output_usd_per_mtok": "DOUBLE"}}]') AS experts
  FROM rollouts
), experts AS (
  SELECT id, unnest(experts, recursive := true) FROM priced
), charges AS (
  SELECT rollout_id, unnest(from_json(charges::JSON,
    '[{{"tool": "VARCHAR", "kind": "VARCHAR", "input_tokens": "BIGINT", "output_tokens": "BIGINT"}}]'),
    recursive := true)
  FROM turns
), calls AS (
  SELECT c.rollout_id, {exact_sum(_CALL_USD)} AS usd
  FROM charges c JOIN priced p ON p.id = c.rollout_id LEFT JOIN experts e ON e.id = c.rollout_id AND e.name = c.tool
  GROUP BY c.rollout_id
), tokens AS (
  SELECT rollout_id, sum(prompt_tokens) AS prompt, sum(completion_tokens) AS completion FROM turns GROUP BY rollout_id
)
SELECT p.id, p.cost_usd AS stored_usd,
  coalesce(t.prompt * p.input_usd + t.completion * p.output_usd, 0) / 1e6 + coalesce(c.usd, 0) AS recomputed_usd
FROM priced p LEFT JOIN tokens t ON t.rollout_id = p.id LEFT JOIN calls c ON c.rollout_id = p.id
ORDER BY p.id
"""
"""Per rollout `id`, `stored_usd` and `recomputed_usd`: tokens, calls and experts at the prices of its toolbox.

Every turn pays for its whole prompt. Calls that a limit forbade have no charge, and a tool that does not exist no
price. What a model used that plays the user is not the policy's to pay.
"""
