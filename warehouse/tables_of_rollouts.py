"""The tables that the loop writes: rollouts, rewards, updates, checkpoints, evaluations. One line a column.

A line is name, type and meaning. `?` after a type marks a column that older files and parts lack (`columns`).
"""

from warehouse.columns import define_table

ROLLOUT_TABLES = (
    define_table(
        "difficulties",
        "How often a reference policy solved a task.",
        """
        id text Hash of the campaign and the content.
        campaign text The campaign that measured.
        task_id text The task that was tried.
        domain text The domain.
        policy_id text The policy that tried.
        k int The k of pass_at_k.
        attempts int How often it tried, attempts with an environment error left out.
        solved int How often it solved the task.
        pass_at_k real Estimated probability that one of k attempts solves it; null with fewer than k attempts.
        """,
    ),
    define_table(
        "rollouts",
        "An attempt of a policy at a task.",
        """
        id text Hash of who tried what: campaign, iteration, purpose, policy, task, sample, seed.
        campaign text The campaign.
        iteration int Iteration of the campaign; -1 before the first.
        purpose text training, evaluation or difficulty.
        task_id text The task that was attempted.
        environment_id text The environment.
        domain text The domain.
        policy_id text The checkpoint that acted; of a base model its fingerprint, of a rule its name.
        group_id text Shared by all attempts of one policy at one task in one iteration.
        sample int Which of its group, from 0.
        seed big Seed of its sampling.
        outcome text solved, failed, or environment_error, which says nothing about the policy.
        solved bool Whether the outcome is solved.
        stop_reason text Why it ended: answered, or the limit that was reached.
        answer text What the user was told; null if nothing.
        n_turns int Completions.
        n_calls int Calls.
        n_malformed int Completions that could not be read.
        prompt_tokens big Tokens of all prompts together.
        completion_tokens big Tokens of all completions together.
        cost_usd real What it cost, in USD: tokens, calls and experts at the prices of its toolbox.
        latency_s real Seconds it took, as measured; of simulated experts as declared.
        reasons text[] Why it was not solved.
        toolbox json Tools, experts and prices it had.
        preference json How the user wanted it done, in words and weights.
        simulated_experts bool Whether an expert on offer is simulated; say so of any figure you draw from it.
        """,
    ),
    define_table(
        "turns",
        "One completion of a rollout.",
        """
        rollout_id text The rollout.
        turn int Which completion of the rollout, from 0.
        context_ids int[] Tokens put before this completion: in the first turn the whole prompt, then what was heard.
        completion_ids int[] Tokens the policy wrote, end of turn included: the engine's own, never re-tokenised.
        logprobs float[] Behaviour log-probability of each of them, in nats.
        extends bool Whether the prompt continues the tokens of the turns before; if not, context_ids is all of it.
        finish_reason text Why the engine stopped: stop or length.
        prompt_tokens int Tokens in the whole prompt of the turn.
        completion_tokens int Tokens in the completion.
        latency_s real Seconds of the completion and its calls.
        cost_usd real What the turn cost, in USD.
        calls json Calls that the completion makes.
        results json One result per call; of a malformed completion the error that the policy was shown.
        charges json What each call used; calls that a limit forbade have none.
        text text What the policy wrote, word for word, in the syntax it was told to use.
        message text What the policy said to the user; null if nothing.
        reply text What the user answered; null if nothing.
        """,
        key="rollout_id turn",
    ),
    define_table(
        "rewards",
        "What an update made of a rollout.",
        """
        update_id text The update.
        rollout_id text The rollout.
        components map Element of the reward → what it adds: normalized within the group, times its weight.
        reward real The reward; null where the environment broke.
        advantage real What its tokens are pushed by; null where not trained on.
        status text trained, or why not.
        """,
        key="update_id rollout_id",
    ),
    define_table(
        "updates",
        "An update of a policy.",
        """
        id text Hash of the checkpoint it made, campaign and iteration.
        campaign text The campaign.
        iteration int Iteration of the campaign; null before the first.
        kind text warm_start or grpo.
        parent_checkpoint text The checkpoint it began with.
        checkpoint_id text The checkpoint it made.
        loss real Loss of the last step.
        grad_norm real Norm of the last step's gradient, before clipping.
        n_tokens big Tokens trained on.
        n_rollouts int Training rows: rollouts, or golden trajectories of a warm start.
        counts json Rollouts by fate: trained, and each reason to leave one out.
        statistics json The figures of every step.
        seconds real Seconds it took.
        config json Settings of the update.
        seed big Seed of the update.
        """,
    ),
    define_table(
        "checkpoints",
        "A policy: the weights of an adapter, or a base model.",
        """
        id text The checkpoint; of a base model its fingerprint.
        parent_id text The checkpoint it was trained from.
        base_model text Fingerprint of the weights below the adapter.
        kind text base, warm_start or update.
        campaign text The campaign.
        iteration int Iteration of the campaign; null before the first.
        rollouts_batch_id text The batch of rollouts it was trained on.
        config json Settings of the update.
        seed big Seed of the update.
        code_version text Commit, with +dirty if files differed from it.
        path text Folder of the adapter.
        adapter_sha256 text Hash of the adapter's bytes.
        record json The checkpoint as EnvLoom reads it, canonical JSON.
        """,
    ),
    define_table(
        "evaluations",
        "How well a policy does on a split.",
        """
        id text Hash of campaign, iteration, policy, dataset and figures.
        campaign text The campaign.
        iteration int Iteration of the campaign; -1 before the first.
        policy_id text The checkpoint that acted; of a base model its fingerprint, of a rule its name.
        split text The split of the dataset; for the figures of one domain, split/domain.
        n int Rollouts without an environment error.
        solved int Solved ones among them.
        success real Share solved.
        success_low real Lower end of its Wilson interval, at the campaign's confidence.
        success_high real Upper end of it.
        cost_usd_mean real Mean cost of a rollout, in USD.
        latency_s_mean real Mean seconds of a rollout.
        turns_mean real Mean completions of a rollout.
        simulated_experts bool Whether an expert on offer is simulated; say so of any figure you draw from it.
        record json The evaluation as EnvLoom reads it, canonical JSON.
        """,
    ),
)
