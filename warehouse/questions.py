"""Views with the names of what people ask about: trained rollouts, prompts, settings of campaigns, tasks' outcomes.

`docs/warehouse.md` has a cookbook over them. No number is stored twice.
"""

from warehouse.costs import exact_sum

QUESTION_VIEWS = (
    # Of a task: the calls whose words it has, and those that wrote its environment.
    """
    CREATE OR REPLACE VIEW task_calls AS
    WITH told AS (SELECT * FROM lineage_edges WHERE parent_kind = 'llm_call')
    SELECT task_id, llm_call_id, how, c.template, c.template_sha256, c.model, c.cost_usd
    FROM (
      SELECT child_id AS task_id, parent_id AS llm_call_id, 'task' AS how FROM told WHERE child_kind = 'task'
      UNION
      SELECT t.id, e.parent_id, 'environment'
      FROM told e JOIN tasks t ON t.environment_id = e.child_id WHERE e.child_kind = 'environment'
    ) JOIN llm_calls c ON c.id = llm_call_id
    """,
    """
    CREATE OR REPLACE VIEW trained_rollouts AS
    SELECT u.campaign, u.iteration, u.id AS update_id, u.checkpoint_id, r.id AS rollout_id, r.task_id, r.environment_id,
      r.domain, t.instruction, r.policy_id, r.outcome, r.solved, w.reward, w.advantage, w.components,
      r.completion_tokens, r.cost_usd
    FROM rewards w JOIN updates u ON u.id = w.update_id JOIN rollouts r ON r.id = w.rollout_id
      JOIN tasks t ON t.id = r.task_id
    WHERE w.status = 'trained'
    """,
    # A rollout counts once for each tool it called, however often. Calls that a limit forbade are among them.
    """
    CREATE OR REPLACE VIEW rollout_tools AS
    SELECT DISTINCT rollout_id, tool FROM (
      SELECT rollout_id, unnest(from_json(calls::JSON, '[{"tool": "VARCHAR"}]'), recursive := true) FROM turns
    ) WHERE tool IS NOT NULL
    """,
    """
    CREATE OR REPLACE VIEW task_outcomes AS
    SELECT t.id AS task_id, t.domain, t.environment_id, t.difficulty, t.instruction,
      count(r.id) FILTER (r.outcome <> 'environment_error') AS attempts, count(r.id) FILTER (r.solved) AS solved
    FROM tasks t LEFT JOIN rollouts r ON r.task_id = t.id GROUP BY ALL
    """,
    f"""
    CREATE OR REPLACE VIEW prompts AS
    SELECT template, template_sha256, model, count(*) AS calls,
      CASE WHEN count(*) = count(prompt_tokens) THEN sum(prompt_tokens)::BIGINT END AS prompt_tokens,
      CASE WHEN count(*) = count(completion_tokens) THEN sum(completion_tokens)::BIGINT END AS completion_tokens,
      {exact_sum("seconds")} AS seconds,
      CASE WHEN count(*) = count(cost_usd) THEN {exact_sum("cost_usd")} END AS cost_usd
    FROM llm_calls GROUP BY ALL
    """,
    # Everything that may tell one campaign from another, as (setting, value): what differs is a full join away.
    """
    CREATE OR REPLACE VIEW campaign_settings AS
    WITH made AS (
      SELECT campaign, rollouts_batch_id, kind, base_model, config, code_version FROM checkpoints
    ), recorded AS (
      SELECT DISTINCT c.campaign, b.runtime_id FROM checkpoints c JOIN batch_members m ON m.table_name = 'checkpoints'
        AND m.record_id = c.id JOIN batches b USING (batch_id)
    ), trained AS (
      SELECT DISTINCT campaign, task_id, environment_id, domain FROM trained_rollouts
    ), settings AS (
      SELECT campaign, kind || ltrim(j.fullkey, '$') AS setting, j.atom ->> '$' AS value
      FROM made, json_tree(made.config::JSON) j WHERE j.atom IS NOT NULL
      UNION
      SELECT g.name, 'campaign' || ltrim(j.fullkey, '$'), j.atom ->> '$'
      FROM givens g, json_tree(g.record::JSON) j WHERE g.kind = 'campaign' AND j.atom IS NOT NULL
      UNION SELECT campaign, 'base model', base_model FROM made
      UNION SELECT campaign, 'code version', code_version FROM made
      UNION SELECT campaign, 'python', python FROM recorded JOIN runtimes r ON r.id = runtime_id
      UNION SELECT campaign, 'lock', lock_sha256 FROM recorded JOIN runtimes r ON r.id = runtime_id
      UNION SELECT campaign, 'machine ' || ltrim(j.fullkey, '$.'), j.atom ->> '$'
      FROM recorded JOIN runtimes r ON r.id = runtime_id, json_tree(r.machine::JSON) j WHERE j.atom IS NOT NULL
      UNION SELECT campaign, 'library ' || ltrim(j.fullkey, '$.'), j.atom ->> '$'
      FROM recorded JOIN runtimes r ON r.id = runtime_id, json_tree(r.libraries::JSON) j WHERE j.atom IS NOT NULL
      UNION SELECT campaign, 'environment ' || domain, environment_id FROM trained
      UNION SELECT campaign, 'prompt ' || template, template_sha256 FROM trained JOIN task_calls USING (task_id)
      UNION SELECT campaign, 'tasks trained on', sha256(string_agg(task_id, ' ' ORDER BY task_id))
      FROM (SELECT DISTINCT campaign, task_id FROM trained) GROUP BY campaign
    )
    SELECT campaign, setting, string_agg(DISTINCT value::VARCHAR, ', ' ORDER BY value::VARCHAR) AS value
    FROM settings WHERE value IS NOT NULL GROUP BY ALL
    """,
)
