"""What the columns of rollouts, of pairs of rollouts and of golden trajectories are."""

from warehouse.columns import Column, ListOf, columns
from warehouse.export.columns import Configuration, stored
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
    *stored("turns", "context_ids completion_ids logprobs extends text finish_reason prompt_tokens completion_tokens"),
    *stored("turns", "latency_s cost_usd"),
    Column("charges", ListOf(_CHARGE), "What each call used; calls that a limit forbade have none."),
)
_ATTEMPT = stored("rollouts", "campaign iteration")
_WHERE = (
    *stored("rollouts", "group_id"),
    *columns("task_id text The task: id in the dataset of tasks."),
    *stored("rollouts", "environment_id domain policy_id"),
)

ROLLOUTS = Configuration(
    "rollouts",
    "One row per attempt of a policy at a task.",
    (
        *stored("rollouts", "id"),
        Column(
            "messages",
            ListOf(MESSAGE),
            "The conversation in the form of chat APIs, with calls as tool_calls and whole results. The policy's own "
            "words are in turns.text, what it was shown in turns.context_ids.",
        ),
        TOOLS,
        *stored("rollouts", "outcome reasons stop_reason answer"),
        *columns("reward real Reward in the newest update that looked at it; null where masked or never rewarded."),
        Column(
            "reward_components",
            ListOf(columns("name text Element of the reward.\nvalue real What it adds where the task is solved.")),
            "The elements of the reward: normalised within the group, times their weight.",
        ),
        *stored("rewards", "advantage"),
        *columns(
            """
            training_status text trained, or why not; null where no update looked at it.
            update_id text That update; null if none.
            """
        ),
        *_ATTEMPT,
        *stored("rollouts", "purpose"),
        *_WHERE,
        *columns(
            """
            policy_kind text base, warm_start or update; null for rules.
            base_model text Fingerprint of the model the policy is an adapter of; null for rules.
            """
        ),
        *stored("rollouts", "sample seed"),
        PREFERENCE,
        TOOLBOX,
        *stored("rollouts", "n_turns n_calls n_malformed prompt_tokens completion_tokens cost_usd latency_s"),
        *stored("rollouts", "simulated_experts"),
        Column("turns", ListOf(_TURN), "Completion by completion: tokens, log-probabilities, costs."),
    ),
)

_FIGURES = (
    *columns("id text Id in the dataset of rollouts.\nreward real Its reward.\noutcome text solved or failed."),
    *stored("rollouts", "cost_usd latency_s completion_tokens"),
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
        *_ATTEMPT,
        *_WHERE,
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
