-- A warehouse of schema version 3: the statements that made one, and one domain's rows in it.
CREATE TABLE meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL);
INSERT INTO meta VALUES ('schema_version', '3');
CREATE TABLE llm_calls ("id" VARCHAR NOT NULL, "model" VARCHAR, "template" VARCHAR, "template_sha256" VARCHAR, "seed" BIGINT, "prompt_tokens" INTEGER, "completion_tokens" INTEGER, "seconds" DOUBLE, "finish_reason" VARCHAR, "cost_usd" DOUBLE, "record" VARCHAR);
CREATE TABLE environments ("id" VARCHAR NOT NULL, "domain" VARCHAR, "title" VARCHAR, "n_tables" INTEGER, "n_rows" INTEGER, "n_tools" INTEGER, "clock" VARCHAR, "seed" BIGINT, "base_state_sha256" VARCHAR, "record" VARCHAR);
CREATE TABLE tools ("id" VARCHAR NOT NULL, "environment_id" VARCHAR, "domain" VARCHAR, "name" VARCHAR, "writes" BOOLEAN, "n_parameters" INTEGER, "record" VARCHAR);
CREATE TABLE tasks ("id" VARCHAR NOT NULL, "environment_id" VARCHAR, "domain" VARCHAR, "instruction" VARCHAR, "shape" VARCHAR, "difficulty" INTEGER, "n_writes" INTEGER, "n_facts" INTEGER, "record" VARCHAR);
CREATE TABLE splits ("task_id" VARCHAR NOT NULL, "split" VARCHAR NOT NULL);
CREATE TABLE checks ("id" VARCHAR NOT NULL, "task_id" VARCHAR, "environment_id" VARCHAR, "name" VARCHAR, "outcome" VARCHAR, "evidence" VARCHAR);
CREATE TABLE audits ("id" VARCHAR NOT NULL, "environment_id" VARCHAR, "domain" VARCHAR, "fault" VARCHAR, "operator" VARCHAR, "trials" INTEGER, "wrong" INTEGER, "low" DOUBLE, "high" DOUBLE, "record" VARCHAR);
CREATE TABLE rejections ("id" VARCHAR NOT NULL, "domain" VARCHAR, "stage" VARCHAR, "reason" VARCHAR, "detail" VARCHAR, "record" VARCHAR);
CREATE TABLE diversity ("id" VARCHAR NOT NULL, "scope" VARCHAR, "tasks" INTEGER, "distinct_shapes" INTEGER, "tool_bigram_entropy_bits" DOUBLE, "tools" INTEGER, "tools_used" INTEGER, "lexical_diversity" DOUBLE, "repeated" INTEGER);
CREATE TABLE difficulties ("id" VARCHAR NOT NULL, "campaign" VARCHAR, "task_id" VARCHAR, "domain" VARCHAR, "policy_id" VARCHAR, "k" INTEGER, "attempts" INTEGER, "solved" INTEGER, "pass_at_k" DOUBLE);
CREATE TABLE rollouts ("id" VARCHAR NOT NULL, "campaign" VARCHAR, "iteration" INTEGER, "purpose" VARCHAR, "task_id" VARCHAR, "environment_id" VARCHAR, "domain" VARCHAR, "policy_id" VARCHAR, "group_id" VARCHAR, "sample" INTEGER, "seed" BIGINT, "outcome" VARCHAR, "solved" BOOLEAN, "stop_reason" VARCHAR, "answer" VARCHAR, "n_turns" INTEGER, "n_calls" INTEGER, "n_malformed" INTEGER, "prompt_tokens" BIGINT, "completion_tokens" BIGINT, "cost_usd" DOUBLE, "latency_s" DOUBLE, "reasons" VARCHAR[], "toolbox" VARCHAR, "preference" VARCHAR, "simulated_experts" BOOLEAN);
CREATE TABLE turns ("rollout_id" VARCHAR NOT NULL, "turn" INTEGER NOT NULL, "context_ids" INTEGER[], "completion_ids" INTEGER[], "logprobs" FLOAT[], "extends" BOOLEAN, "finish_reason" VARCHAR, "prompt_tokens" INTEGER, "completion_tokens" INTEGER, "latency_s" DOUBLE, "cost_usd" DOUBLE, "calls" VARCHAR, "results" VARCHAR, "charges" VARCHAR, "text" VARCHAR, "message" VARCHAR, "reply" VARCHAR);
CREATE TABLE rewards ("update_id" VARCHAR NOT NULL, "rollout_id" VARCHAR NOT NULL, "components" MAP(VARCHAR, DOUBLE), "reward" DOUBLE, "advantage" DOUBLE, "status" VARCHAR);
CREATE TABLE updates ("id" VARCHAR NOT NULL, "campaign" VARCHAR, "iteration" INTEGER, "kind" VARCHAR, "parent_checkpoint" VARCHAR, "checkpoint_id" VARCHAR, "loss" DOUBLE, "grad_norm" DOUBLE, "n_tokens" BIGINT, "n_rollouts" INTEGER, "counts" VARCHAR, "statistics" VARCHAR, "seconds" DOUBLE, "config" VARCHAR, "seed" BIGINT);
CREATE TABLE checkpoints ("id" VARCHAR NOT NULL, "parent_id" VARCHAR, "base_model" VARCHAR, "kind" VARCHAR, "campaign" VARCHAR, "iteration" INTEGER, "rollouts_batch_id" VARCHAR, "config" VARCHAR, "seed" BIGINT, "code_version" VARCHAR, "path" VARCHAR, "adapter_sha256" VARCHAR, "record" VARCHAR);
CREATE TABLE evaluations ("id" VARCHAR NOT NULL, "campaign" VARCHAR, "iteration" INTEGER, "policy_id" VARCHAR, "split" VARCHAR, "n" INTEGER, "solved" INTEGER, "success" DOUBLE, "success_low" DOUBLE, "success_high" DOUBLE, "cost_usd_mean" DOUBLE, "latency_s_mean" DOUBLE, "turns_mean" DOUBLE, "simulated_experts" BOOLEAN, "record" VARCHAR);
CREATE TABLE lineage_edges ("parent_kind" VARCHAR NOT NULL, "parent_id" VARCHAR NOT NULL, "child_kind" VARCHAR NOT NULL, "child_id" VARCHAR NOT NULL, "relation" VARCHAR NOT NULL, "batch_id" VARCHAR);
CREATE TABLE batches ("batch_id" VARCHAR NOT NULL, "asset" VARCHAR, "partition" VARCHAR, "data_version" VARCHAR, "code_version" VARCHAR, "run_id" VARCHAR, "created_at" TIMESTAMP, "n_rows" BIGINT);
CREATE TABLE batch_members ("batch_id" VARCHAR NOT NULL, "position" BIGINT NOT NULL, "table_name" VARCHAR NOT NULL, "record_id" VARCHAR);
CREATE VIEW current_batches AS SELECT * FROM batches QUALIFY row_number() OVER (PARTITION BY asset, partition ORDER BY created_at DESC, batch_id DESC) = 1;
CREATE VIEW batch_llm_calls AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN llm_calls t ON m.record_id = t."id" WHERE m.table_name = 'llm_calls';
CREATE VIEW current_llm_calls AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_llm_calls v USING (batch_id);
CREATE VIEW batch_environments AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN environments t ON m.record_id = t."id" WHERE m.table_name = 'environments';
CREATE VIEW current_environments AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_environments v USING (batch_id);
CREATE VIEW batch_tools AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN tools t ON m.record_id = t."id" WHERE m.table_name = 'tools';
CREATE VIEW current_tools AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_tools v USING (batch_id);
CREATE VIEW batch_tasks AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN tasks t ON m.record_id = t."id" WHERE m.table_name = 'tasks';
CREATE VIEW current_tasks AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_tasks v USING (batch_id);
CREATE VIEW batch_splits AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN splits t ON t."task_id" = CAST(split_part(m.record_id, '/', 1) AS VARCHAR) AND t."split" = CAST(split_part(m.record_id, '/', 2) AS VARCHAR) WHERE m.table_name = 'splits';
CREATE VIEW current_splits AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_splits v USING (batch_id);
CREATE VIEW batch_checks AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN checks t ON m.record_id = t."id" WHERE m.table_name = 'checks';
CREATE VIEW current_checks AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_checks v USING (batch_id);
CREATE VIEW batch_audits AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN audits t ON m.record_id = t."id" WHERE m.table_name = 'audits';
CREATE VIEW current_audits AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_audits v USING (batch_id);
CREATE VIEW batch_rejections AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN rejections t ON m.record_id = t."id" WHERE m.table_name = 'rejections';
CREATE VIEW current_rejections AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_rejections v USING (batch_id);
CREATE VIEW batch_diversity AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN diversity t ON m.record_id = t."id" WHERE m.table_name = 'diversity';
CREATE VIEW current_diversity AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_diversity v USING (batch_id);
CREATE VIEW batch_difficulties AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN difficulties t ON m.record_id = t."id" WHERE m.table_name = 'difficulties';
CREATE VIEW current_difficulties AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_difficulties v USING (batch_id);
CREATE VIEW batch_rollouts AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN rollouts t ON m.record_id = t."id" WHERE m.table_name = 'rollouts';
CREATE VIEW current_rollouts AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_rollouts v USING (batch_id);
CREATE VIEW batch_turns AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN turns t ON t."rollout_id" = CAST(split_part(m.record_id, '/', 1) AS VARCHAR) AND t."turn" = CAST(split_part(m.record_id, '/', 2) AS INTEGER) WHERE m.table_name = 'turns';
CREATE VIEW current_turns AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_turns v USING (batch_id);
CREATE VIEW batch_rewards AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN rewards t ON t."update_id" = CAST(split_part(m.record_id, '/', 1) AS VARCHAR) AND t."rollout_id" = CAST(split_part(m.record_id, '/', 2) AS VARCHAR) WHERE m.table_name = 'rewards';
CREATE VIEW current_rewards AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_rewards v USING (batch_id);
CREATE VIEW batch_updates AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN updates t ON m.record_id = t."id" WHERE m.table_name = 'updates';
CREATE VIEW current_updates AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_updates v USING (batch_id);
CREATE VIEW batch_checkpoints AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN checkpoints t ON m.record_id = t."id" WHERE m.table_name = 'checkpoints';
CREATE VIEW current_checkpoints AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_checkpoints v USING (batch_id);
CREATE VIEW batch_evaluations AS SELECT m.batch_id, m.position, t.* FROM batch_members m JOIN evaluations t ON m.record_id = t."id" WHERE m.table_name = 'evaluations';
CREATE VIEW current_evaluations AS SELECT b.asset, b.partition, v.* FROM current_batches b JOIN batch_evaluations v USING (batch_id);
CREATE VIEW lineage AS SELECT parent_kind, parent_id, child_kind, child_id, relation FROM lineage_edges UNION ALL SELECT 'environment', environment_id, 'tool', id, 'belongs_to' FROM tools WHERE environment_id IS NOT NULL AND id IS NOT NULL UNION ALL SELECT 'environment', environment_id, 'task', id, 'poses' FROM tasks WHERE environment_id IS NOT NULL AND id IS NOT NULL UNION ALL SELECT 'task', task_id, 'rollout', id, 'attempted_in' FROM rollouts WHERE task_id IS NOT NULL AND id IS NOT NULL UNION ALL SELECT 'checkpoint', policy_id, 'rollout', id, 'acted_in' FROM rollouts WHERE policy_id IS NOT NULL AND id IS NOT NULL UNION ALL SELECT 'rollout', rollout_id, 'update', update_id, 'trained' FROM rewards WHERE rollout_id IS NOT NULL AND update_id IS NOT NULL UNION ALL SELECT 'checkpoint', parent_checkpoint, 'update', id, 'updated_in' FROM updates WHERE parent_checkpoint IS NOT NULL AND id IS NOT NULL UNION ALL SELECT 'update', id, 'checkpoint', checkpoint_id, 'produced' FROM updates WHERE id IS NOT NULL AND checkpoint_id IS NOT NULL UNION ALL SELECT 'checkpoint', parent_id, 'checkpoint', id, 'parent' FROM checkpoints WHERE parent_id IS NOT NULL AND id IS NOT NULL UNION ALL SELECT 'batch', rollouts_batch_id, 'checkpoint', id, 'rollouts_of' FROM checkpoints WHERE rollouts_batch_id IS NOT NULL AND id IS NOT NULL UNION ALL SELECT 'checkpoint', policy_id, 'evaluation', id, 'evaluated_in' FROM evaluations WHERE policy_id IS NOT NULL AND id IS NOT NULL UNION ALL SELECT 'checkpoint', policy_id, 'difficulty', id, 'measured' FROM difficulties WHERE policy_id IS NOT NULL AND id IS NOT NULL UNION ALL SELECT 'task', task_id, 'difficulty', id, 'measured_in' FROM difficulties WHERE task_id IS NOT NULL AND id IS NOT NULL;
CREATE VIEW rejection_reasons AS
  SELECT partition AS domain, stage, reason, kept AS answer_kept, count(*) AS n, any_value(detail) AS example
  FROM (SELECT *, coalesce(TRY_CAST(record::JSON ->> '$.subject.kept' AS BOOLEAN), false) AS kept
  FROM current_rejections WHERE asset IN ('environment', 'candidate_tasks', 'proven_tasks'))
  GROUP BY ALL;
CREATE VIEW synthesis_calls AS
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
  WHERE c.asset IN ('environment', 'candidate_tasks');
CREATE VIEW funnel AS
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
  sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
  sum(seconds) AS seconds, CASE WHEN count(*) = count(cost_usd) THEN sum(cost_usd) END AS cost_usd
  FROM synthesis_calls GROUP BY ALL
  UNION ALL
  SELECT t.domain, 2, 'programs', t.candidates + coalesce(l.rejected, 0), 0, coalesce(l.rejected, 0), t.candidates,
  0, 0, 0, 0, 0
  FROM tasks t LEFT JOIN lost l ON l.domain = t.domain AND l.stage = 'programs'
  UNION ALL
  SELECT t.domain, 3, 'proof', t.candidates, 0, t.candidates - t.proven, t.proven, 0, 0, 0, 0, 0
  FROM tasks t WHERE t.put_to_proof;
CREATE VIEW cost_per_task AS
  WITH calls AS (
  SELECT domain, count(*) AS llm_calls, sum(prompt_tokens)::BIGINT AS prompt_tokens,
  sum(completion_tokens)::BIGINT AS completion_tokens, sum(seconds) AS seconds,
  CASE WHEN count(*) = count(cost_usd) THEN sum(cost_usd) END AS cost_usd
  FROM synthesis_calls GROUP BY ALL
  ), proven AS (
  SELECT domain, accepted AS tasks FROM funnel WHERE stage = 'proof'
  )
  SELECT domain, tasks, llm_calls, prompt_tokens, completion_tokens, seconds, cost_usd,
  llm_calls / nullif(tasks, 0) AS calls_per_task,
  (prompt_tokens + completion_tokens) / nullif(tasks, 0) AS tokens_per_task,
  seconds / nullif(tasks, 0) AS seconds_per_task, cost_usd / nullif(tasks, 0) AS usd_per_task
  FROM proven JOIN calls USING (domain);
INSERT INTO environments (id, domain, title) VALUES ('env', 'retail', 'Shop');
INSERT INTO tasks (id, environment_id, domain, instruction, record) VALUES ('task-1', 'env', 'retail', 'Refund it.', '{}'), ('task-2', 'env', 'retail', 'Ship it.', '{}');
INSERT INTO rollouts (id, campaign, iteration, task_id, outcome, reasons) VALUES ('rollout-1', 'demo', 1, 'task-1', 'failed', ['changeset']);
INSERT INTO turns (rollout_id, turn, context_ids, completion_ids, logprobs) VALUES ('rollout-1', 0, [1, 2], [3], [-0.5]);
INSERT INTO rewards (update_id, rollout_id, components, reward) VALUES ('update-1', 'rollout-1', MAP {'cost': -0.01}, -0.01);
INSERT INTO batches VALUES ('old', 'proven_tasks', 'retail', 'v1', 'abc', 'run-1', TIMESTAMP '2026-01-01 00:00:00', 1), ('new', 'proven_tasks', 'retail', 'v2', 'abc', 'run-2', TIMESTAMP '2026-01-02 00:00:00', 2);
INSERT INTO batch_members VALUES ('old', 0, 'tasks', 'task-1'), ('new', 0, 'tasks', 'task-2'), ('new', 1, 'tasks', 'task-1');
INSERT INTO lineage_edges VALUES ('llm_call', 'call-1', 'task', 'task-1', 'worded_by', 'old');
