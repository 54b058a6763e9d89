"""Views of how much was proposed, repaired, rejected and accepted on the way to a domain's tasks, and what they cost.

They read the newest batches of the synthesis assets, whose partition is the domain. No number is stored twice. A sum is
NULL where one of its calls is not known: its endpoint gave no usage, or it has no price.
"""

from warehouse.costs import exact_sum

FUNNEL_VIEWS = (
    # Of an answer that was kept in part, what was left out is a rejection too, but the answer is none.
    """
    CREATE OR REPLACE VIEW rejection_reasons AS
    SELECT partition AS domain, stage, reason, kept AS answer_kept, count(*) AS n, any_value(detail) AS example
    FROM (SELECT *, coalesce(TRY_CAST(record::JSON ->> '$.subject.kept' AS BOOLEAN), false) AS kept
          FROM current_rejections WHERE asset IN ('environment', 'candidate_tasks', 'proven_tasks'))
    GROUP BY ALL
    """,
    """
    CREATE OR REPLACE VIEW synthesis_calls AS
    WITH refused AS (
      SELECT DISTINCT partition, unnest(from_json(record::JSON -> '$.made_from', '["VARCHAR"]')) AS id
      FROM current_rejections
      WHERE asset IN ('environment', 'candidate_tasks')
        AND NOT coalesce(TRY_CAST(record::JSON ->> '$.subject.kept' AS BOOLEAN), false)
    )
    SELECT DISTINCT c.partition AS domain, c.template AS stage, c.id, c.model, c.prompt_tokens, c.completion_tokens,
      c.seconds, c.cost_usd, json_array_length(c.record::JSON -> '$.request.messages') > 2 AS repair,
      r.id IS NULL AS accepted
    FROM current_llm_calls c LEFT JOIN refused r USING (partition, id)
    WHERE c.asset IN ('environment', 'candidate_tasks')
    """,
    f"""
    CREATE OR REPLACE VIEW funnel AS
    WITH tasks AS (
      SELECT b.partition AS domain, count(t.id) FILTER (b.asset = 'candidate_tasks') AS candidates,
        count(t.id) FILTER (b.asset = 'proven_tasks') AS proven, bool_or(b.asset = 'proven_tasks') AS put_to_proof
      FROM current_batches b LEFT JOIN batch_tasks t USING (batch_id)
      WHERE b.asset IN ('candidate_tasks', 'proven_tasks') GROUP BY ALL
    ), lost AS (
      SELECT domain, stage, sum(n) FILTER (reason <> 'no_phrases')::BIGINT AS rejected
      FROM rejection_reasons GROUP BY ALL
    )
    SELECT domain, 1 AS step, stage, count(*) AS proposed, count(*) FILTER (repair AND accepted) AS repaired,
      count(*) FILTER (NOT accepted) AS rejected, count(*) FILTER (accepted) AS accepted, count(*) AS llm_calls,
      CASE WHEN count(*) = count(prompt_tokens) THEN sum(prompt_tokens)::BIGINT END AS prompt_tokens,
      CASE WHEN count(*) = count(completion_tokens) THEN sum(completion_tokens)::BIGINT END AS completion_tokens,
      {exact_sum("seconds")} AS seconds,
      CASE WHEN count(*) = count(cost_usd) THEN {exact_sum("cost_usd")} END AS cost_usd
    FROM synthesis_calls GROUP BY ALL
    UNION ALL
    SELECT t.domain, 2, 'programs', t.candidates + coalesce(l.rejected, 0), 0, coalesce(l.rejected, 0), t.candidates,
      0, 0, 0, 0, 0
    FROM tasks t LEFT JOIN lost l ON l.domain = t.domain AND l.stage = 'programs'
    UNION ALL
    SELECT t.domain, 3, 'proof', t.candidates, 0, t.candidates - t.proven, t.proven, 0, 0, 0, 0, 0
    FROM tasks t WHERE t.put_to_proof
    """,
    f"""
    CREATE OR REPLACE VIEW cost_per_task AS
    WITH calls AS (
      SELECT domain, count(*) AS llm_calls,
        CASE WHEN count(*) = count(prompt_tokens) THEN sum(prompt_tokens)::BIGINT END AS prompt_tokens,
        CASE WHEN count(*) = count(completion_tokens) THEN sum(completion_tokens)::BIGINT END AS completion_tokens,
        {exact_sum("seconds")} AS seconds,
        CASE WHEN count(*) = count(cost_usd) THEN {exact_sum("cost_usd")} END AS cost_usd
      FROM synthesis_calls GROUP BY ALL
    ), proven AS (
      SELECT domain, accepted AS tasks FROM funnel WHERE stage = 'proof'
    )
    SELECT domain, tasks, llm_calls, prompt_tokens, completion_tokens, seconds, cost_usd,
      llm_calls / nullif(tasks, 0) AS calls_per_task,
      (prompt_tokens + completion_tokens) / nullif(tasks, 0) AS tokens_per_task,
      seconds / nullif(tasks, 0) AS seconds_per_task, cost_usd / nullif(tasks, 0) AS usd_per_task
    FROM proven JOIN calls USING (domain)
    """,
)
