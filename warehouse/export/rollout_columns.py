"""What the columns of rollouts, of pairs of rollouts and of golden trajectories are."""

from warehouse.export.columns import Column, Configuration, ListOf, columns
from warehouse.export.shared import MESSAGE, PREFERENCE, PROMPT_MESSAGE, TOOLBOX, TOOLS, WEIGHTS

TOKEN_COLUMNS = ("context_ids", "completion_ids", "logprobs")
"""Left out of an export without tokens."""

_CHARGE = columns(
    """
    tool text The tool or expert; for a model that plays the user, its name.
    kind text tool, distractor, expert or user.
    input_tokens int Prompt tokens of an expert or the user; 0 for tools.
    output_tokens int Completion tokens of an expert or the user; 0 for tools.
    latency_s real Seconds the call took; of a simulated expert as declared.
    simulated bool Whether a simulated expert answered.
    """
)
_TURN = (
    *columns(
        """
        context_ids int[] Tokens put before this completion: in the first turn the whole prompt, then what was heard.
        completion_ids int[] Tokens the policy wrote, end of turn included: the engine's own, never re-tokenised.
        logprobs float[] Behaviour log-probability of each of them, in nats.
        extends bool Whether the prompt continues the tokens of the turns before; if not, context_ids is all of it.
        text text What the policy wrote, word for word, in the syntax it was told to use.
        finish_reason text Why the engine stopped: stop or length.
        prompt_tokens int Tokens in the whole prompt of the turn.
        completion_tokens int Tokens in the completion.
        latency_s real Seconds of the completion and its calls.
        cost_usd real What the turn cost, in USD.
        """
    ),
    Column("charges", ListOf(_CHARGE), "What each call used; calls that a limit forbade have none."),
)
_ATTEMPT = """
campaign text The campaign.
iteration int Iteration of the campaign; -1 before the first.
"""
_WHERE = """
group_id text Shared by all attempts of one policy at one task in one iteration.
task_id text The task: id in the dataset of tasks.
environment_id text The environment.
domain text The domain.
policy_id text The checkpoint that acted; of a base model its fingerprint, of a rule its name.
"""

ROLLOUTS = Configuration(
    "rollouts",
    "One row per attempt of a policy at a task.",
    (
        *columns("id text Hash of who tried what: campaign, iteration, purpose, policy, task, sample, seed."),
        Column(
            "messages",
            ListOf(MESSAGE),
            "The conversation in the form of chat APIs, with calls as tool_calls and whole results. The policy's own "
            "words are in turns.text, what it was shown in turns.context_ids.",
        ),
        TOOLS,
        *columns(
            """
            outcome text solved, failed, or environment_error, which says nothing about the policy.
            reasons text[] Why it was not solved.
            stop_reason text Why it ended: answered, or the limit that was reached.
            answer text What the user was told; null if nothing.
            reward real Reward in the newest update that looked at it; null where masked or never rewarded.
            """
        ),
        Column(
            "reward_components",
            ListOf(columns("name text Element of the reward.\nvalue real What it adds where the task is solved.")),
            "The elements of the reward: normalised within the group, times their weight.",
        ),
        *columns(
            """
            advantage real What its tokens are pushed by; null where not trained on.
            training_status text trained, or why not; null where no update looked at it.
            update_id text That update; null if none.
            """
        ),
        *columns(_ATTEMPT),
        *columns("purpose text training, evaluation or difficulty."),
        *columns(_WHERE),
        *columns(
            """
            policy_kind text base, warm_start or update; null for rules.
            base_model text Fingerprint of the model the policy is an adapter of; null for rules.
            sample int Which of its group, from 0.
            seed big Seed of its sampling.
            """
        ),
        PREFERENCE,
        TOOLBOX,
        *columns(
            """
            n_turns int Completions.
            n_calls int Calls.
            n_malformed int Completions that could not be read.
            prompt_tokens big Tokens of all prompts together.
            completion_tokens big Tokens of all completions together.
            cost_usd real What it cost, in USD: tokens, calls and experts at the prices of its toolbox.
            latency_s real Seconds it took, as measured; of simulated experts as declared.
            simulated_experts bool Whether an expert on offer is simulated; say so of any figure you draw from it.
            """
        ),
        Column("turns", ListOf(_TURN), "Completion by completion: tokens, log-probabilities, costs."),
    ),
)

_FIGURES = columns(
    """
    id text Id in the dataset of rollouts.
    reward real Its reward.
    outcome text solved or failed.
    cost_usd real What it cost, in USD.
    latency_s real Seconds it took.
    completion_tokens big Tokens the policy wrote.
    """
)
PAIRS = Configuration(
    "pairs",
    "One row per pair of attempts at the same task under the same preference, the better one chosen.",
    (
        Column("prompt", ListOf(PROMPT_MESSAGE), "What both were told first."),
        Column("chosen", ListOf(MESSAGE), "How the attempt of higher reward goes on."),
        Column("rejected", ListOf(MESSAGE), "How the attempt of lower reward goes on."),
        TOOLS,
        Column("margin", "real", "Reward of the chosen minus reward of the rejected; always above 0."),
        PREFERENCE,
        Column("chosen_rollout", _FIGURES, "Figures of the chosen attempt."),
        Column("rejected_rollout", _FIGURES, "Figures of the rejected attempt."),
        *columns(_ATTEMPT),
        *columns(_WHERE),
        *columns("update_id text The update whose rewards these are."),
    ),
)
INSTRUCTIONS = Configuration(
    "instructions",
    "One row per preference that was stated in words, with the weights it stands for.",
    (
        *columns("id text Hash of words and weights.\ntext text What the user says."),
        *WEIGHTS,
        *columns(
            """
            domains text[] Domains of the tasks it was stated in.
            n_tasks int Tasks it was stated in.
            n_groups int Groups of rollouts it was stated in.
            """
        ),
    ),
)

_ORIGIN = """
id text The task's id for a golden trajectory, the rollout's for a solved one.
source text golden or rollout.
task_id text The task.
environment_id text The environment.
domain text The domain.
policy_id text Who acted in a rollout; null for a golden trajectory.
"""
EXAMPLES = Configuration(
    "messages",
    "One row per trajectory, word for word as the warm start shows it: the base model's chat template makes of it the "
    "very tokens of the configuration tokens. A template that tells the date is to be given that of the environment.",
    (
        *columns(_ORIGIN),
        Column(
            "messages",
            ListOf(columns("role text system, user, assistant or tool.\ncontent text The words.")),
            "The conversation, calls in the syntax of the dialect.",
        ),
        Column("tools", ListOf("json"), "Tools for the chat template; empty where the system prompt lists them."),
        *columns("n_turns int Completions."),
    ),
)
COMPLETIONS = Configuration(
    "text",
    "One row per completion: the whole prompt, special tokens included, and what the assistant is to write.",
    (
        *columns(_ORIGIN),
        *columns(
            """
            turn int Which completion of the trajectory, from 0.
            prompt text All before the completion, as the model reads it.
            completion text The completion with its end of turn.
            """
        ),
    ),
)
TOKENS = Configuration(
    "tokens",
    "One row per trajectory as tokens: what the warm start trains on.",
    (
        *columns(_ORIGIN),
        *columns(
            """
            input_ids int[] The tokens.
            labels int[] The same where the assistant speaks, -100 elsewhere.
            """
        ),
    ),
)
