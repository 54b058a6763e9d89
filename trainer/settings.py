"""Settings of the trainer, one model per concern: rollouts, evaluation, rewards, warm start and update. No torch here.

Units in the names, defaults that work on two processor cores with a 135M policy. A campaign's page fills them in; a job
(`trainer.jobs`) carries those that a training process needs.
"""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, ValidationError, model_validator

from envs.experts import EndpointProfile
from envs.record import Record
from envs.toolbox import ToolboxConfig
from serving.request_format import RequestFormat
from trainer.dialects.protocol import DialectName

Attention: TypeAlias = Literal["branches", "flex"]


def _can_be_asked(toolbox: ToolboxConfig) -> ToolboxConfig:
    """A toolbox whose experts have `requests` that can be sent: `envs` does not know what these may hold."""
    for profile in toolbox.pool:
        try:
            RequestFormat.model_validate(profile.requests if isinstance(profile, EndpointProfile) else {})
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, ("requests", *problem["loc"])))
            raise ValueError(f"expert {profile.name}: {where}: {problem['msg']}") from error
    return toolbox


AskedToolbox: TypeAlias = Annotated[ToolboxConfig, AfterValidator(_can_be_asked)]


class UserConfig(Record):
    """Who plays the user of tasks with a scenario: the scripted one, or a model when `base_url` is given."""

    base_url: str = ""
    """An OpenAI-compatible endpoint, with the version: `http://127.0.0.1:8000/v1`."""
    model: str = ""
    api_key_variable: str = ""
    """The environment variable that holds the key; empty for an endpoint without one."""
    max_tokens: int = Field(96, ge=1)
    temperature: float = Field(0.0, ge=0)
    timeout_s: float = Field(60.0, gt=0)
    """Of one reply, with all waits."""
    requests: RequestFormat = RequestFormat()
    """How requests to it differ from the reference interface."""


class WorkersConfig(Record):
    """Who plays the groups of a collection: coroutines of this process, or Ray actors here or on a cluster."""

    kind: Literal["process", "ray"] = "process"
    """`ray` needs `pip install envloom[ray]`."""
    count: int = Field(1, ge=1)
    """Workers; each has a client of its own, and takes one of `engine.base_urls` if there are several."""
    address: str = Field("", pattern=r"^[^/]*$")
    """Of a running Ray cluster that this machine is part of: `auto` or `host:6379`. Empty starts one on this machine
    for the time of the collection. Not `ray://`: Ray's client passes no streams on."""


class RolloutConfig(Record):
    """How rollouts are collected: samples per task, limits of turns, tokens, seconds and dollars, and the toolbox.

    Temperature and top_p of 1 keep the stored logprobs those of the policy itself. `RolloutConfig()` has defaults that
    work; pydantic's ValidationError names a field out of its range.
    """

    samples_per_task: int = Field(8, ge=1)
    max_turns: int = Field(6, ge=1)
    max_tokens_per_turn: int = Field(96, ge=1)
    max_context_tokens: int = Field(2048, ge=64)
    """Prompt, history and the next completion together; at most the engine's `max_model_len`."""
    max_completion_tokens: int | None = Field(None, ge=1)
    """Of all turns together."""
    max_wall_s: float | None = Field(None, gt=0)
    """From the first request on; declared latencies of simulated experts count. A call that is being made is not cut
    short, a completion is."""
    max_cost_usd: float | None = Field(None, gt=0)
    """No call is made and no turn taken once so much is spent."""
    max_malformed: int = Field(2, ge=1)
    """A rollout ends at this many unreadable turns."""
    result_limit_chars: int = Field(600, ge=40)
    dialect: DialectName = "auto"
    """In which syntax the policy reads tools and writes calls: `auto` is that of its chat template, or ours
    (`compact`) where it has none."""
    concurrency: int = Field(32, ge=1)
    """Rollouts that one worker plays at the same time."""
    workers: WorkersConfig = WorkersConfig()
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int = 0
    toolbox: AskedToolbox = ToolboxConfig()
    user: UserConfig = UserConfig()


class EvaluationConfig(Record):
    """How a checkpoint is evaluated: greedy by default, under the same limits as training."""

    samples_per_task: int = Field(1, ge=1)
    temperature: float = Field(0.0, ge=0)
    max_tasks: int | None = Field(None, ge=1)
    """Of the split `test`, which has the domains, tools and prices of training; None for all."""
    unseen: dict[
        Literal["unseen_domain", "unseen_tool", "unseen_prices", "unseen_preference"], Annotated[int, Field(ge=1)]
    ] = Field(default_factory=dict)
    """How many tasks of each split that was kept from training, at most; splits left out are not evaluated."""
    confidence: float = Field(0.95, gt=0, lt=1)
    toolbox: AskedToolbox | None = None
    """Toolboxes of another kind than in training, such as other experts or prices; None for the same kind."""
    rules: tuple[Literal["cheapest_expert", "dearest_expert", "random"], ...] = ()
    """Policies that are rules (`trainer.baselines`), evaluated beside the base and the warm policy."""
    every: int = Field(1, ge=1)
    """Only every so many iterations, counted from one, is a checkpoint evaluated; between them nothing is played."""

    def due(self, iteration: int) -> bool:
        """Whether the checkpoint of that iteration (from 0) is evaluated."""
        return (iteration + 1) % self.every == 0

    def rollout_config(self, training: RolloutConfig) -> RolloutConfig:
        """The training limits with this sampling."""
        return training.model_copy(
            update={
                "samples_per_task": self.samples_per_task,
                "temperature": self.temperature,
                "top_p": 1.0,
                "toolbox": self.toolbox or training.toolbox,
            }
        )


class RewardConfig(Record):
    """The preference vector of tasks that state none, and how latency and advantages are taken."""

    accuracy: float = Field(1.0, ge=0)
    cost: float = Field(0.1, ge=0)
    latency: float = Field(0.05, ge=0)
    latency_from: Literal["tokens", "measured"] = "tokens"
    """`tokens` = completion tokens × `seconds_per_completion_token`, and what the experts took. Wall clock would make
    rewards, and so the checkpoint, depend on how busy the machine was."""
    seconds_per_completion_token: float = Field(0.02, gt=0)
    advantage: Literal["joint", "decoupled"] = "joint"
    """`joint`: one reward, compared within the group. `decoupled`: every element of it compared within the group, then
    weighted and added (GDPO, arXiv 2601.05242)."""
    divide_by_std: bool = False
    """Whether joint advantages are also divided by the group's standard deviation (GRPO) or only centred (Dr. GRPO).
    Decoupled ones always are, element by element."""
    truncated: Literal["train", "mask"] = "train"
    """Rollouts cut by a limit: trained as failures, or left out of their group."""
    malformed: Literal["train", "mask"] = "train"
    """Rollouts ended by unreadable turns: the same choice."""


class LoraSettings(Record):
    """Low-rank adapters on all linear layers.

    vLLM on a processor gathers an adapter's weights once per token, so serving time grows with the rank.
    """

    r: int = Field(8, ge=1)
    alpha: int = Field(16, ge=1)


class TrainingConfig(Record):
    """What warm start and update share."""

    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this norm."""
    exploding_grad_norm: float = Field(1e3, gt=0)
    """A norm above this before scaling stops the run and names the rows."""
    max_pack_tokens: int = Field(4096, ge=64)
    """Distinct tokens computed in one forward pass; attention memory grows with its square."""
    head_chunk_tokens: int = Field(128, ge=1)
    """Trained tokens whose logits exist at the same time."""
    method: Literal["lora", "full"] = "lora"
    """`lora` trains an adapter. `full` trains all weights, and the checkpoint holds all of them (learning rates of
    about a tenth); it continues from an adapter by folding it in, but an adapter never continues from it."""
    lora: LoraSettings = LoraSettings()
    """Used when there is no parent adapter; a parent brings its own."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation and of frozen weights. Weights that learn are float32: bfloat16 rounds small steps away."""
    gradient_checkpointing: bool = False
    """Whether layers are computed again in the backward pass instead of kept: much less memory, a third more work."""
    processes: int = Field(1, ge=1)
    """How many take every step together, each with a copy of the model and whole groups of rows; on accelerators one
    each. Part of the settings because sums are taken in another order."""
    shard: bool = False
    """Whether the processes also share out weights, gradients and optimizer state (FSDP2), for models that one
    accelerator does not hold. Each still reads the whole model into the machine's memory first."""
    attention: Attention = "branches"
    """How rows that share a beginning attend: `branches`, one row's own part after the other; or `flex`, all in one
    kernel (FlexAttention), for which it takes an accelerator."""
    threads: int = Field(2, ge=1)
    """Processor threads of each. Part of the settings because sums, and so the bytes, depend on it."""

    @model_validator(mode="after")
    def _shared_out_among_several(self) -> Self:
        if self.shard and self.processes == 1:
            raise ValueError("shard: there is nobody to share with; set `processes` to the number of accelerators")
        return self


class WarmStartConfig(TrainingConfig):
    """Supervised training on golden trajectories."""

    learning_rate: float = Field(1e-3, gt=0)
    steps: int = Field(16, ge=1)
    examples_per_step: int = Field(8, ge=1)
    examples_per_task: int = Field(1, ge=1)
    """How many examples of one task a step has together. They differ in whom they ask, and share their prompt, which is
    computed once."""
    result_limit_chars: int = Field(600, ge=40)
    """As in `RolloutConfig`, so that examples look like rollouts."""
    expert_rate: float = Field(0.0, ge=0, le=1)
    """How many of the examples ask an expert of `rollouts.toolbox`, at every step, and do what it says; it is right."""
    average_steps: int = Field(0, ge=0)
    """The mean of the weights after each of the last so many steps is what the policy ends with; 0: the weights after
    the last step. Without it what the policy does most is what the last few examples did."""

    @property
    def tasks_per_step(self) -> int:
        """Of how many tasks a step has all examples."""
        return self.examples_per_step // self.examples_per_task

    @model_validator(mode="after")
    def _steps_of_whole_tasks(self) -> Self:
        if self.examples_per_step % self.examples_per_task:
            raise ValueError(
                f"examples_per_step: {self.examples_per_step} are no whole number of tasks with "
                f"{self.examples_per_task} examples each (examples_per_task)"
            )
        return self

    @model_validator(mode="after")
    def _averages_its_own_steps(self) -> Self:
        if self.average_steps > self.steps:
            raise ValueError(f"average_steps: {self.average_steps} of {self.steps} steps; at most all of them")
        return self


class UpdateConfig(TrainingConfig):
    """One policy-gradient update. Each minibatch of whole groups is one optimizer step."""

    learning_rate: float = Field(1e-4, gt=0)
    loss: Literal["clipped_ratio", "cispo", "gspo"] = "clipped_ratio"
    clip_low: float = Field(0.2, gt=0)
    clip_high: float = Field(0.28, gt=0)
    minibatches: int = Field(1, ge=1)
    epochs: int = Field(1, ge=1)
    aggregation: Literal["token_mean", "constant"] = "token_mean"
    """What the sum over a step's tokens is divided by: their number, or `rollout_tokens` × the step's rollouts
    (Dr. GRPO, arXiv 2503.20783), so that a token weighs the same in every step."""
    rollout_tokens: int = Field(576, ge=1)
    """For `constant`: the most tokens that a rollout may have, by default `max_turns` × `max_tokens_per_turn`."""
    moments: Literal["anew", "continued"] = "anew"
    """AdamW's running averages: begun anew in every update, or `continued` from those of the parent, which lie beside
    its weights (twice their size). With a step or two an update, `anew` never averages over more than those."""
    warmup_steps: int = Field(0, ge=0)
    """Over how many of AdamW's first steps the learning rate rises to its value, by the same amount each. With
    `moments: continued` they are counted through all updates. Its averages are of few gradients then: the first step
    moves every weight by the whole learning rate, whatever the sign of its gradient is worth."""
    decay_steps: int = Field(0, ge=0)
    """Over how many steps after those of the warm-up the learning rate falls to a tenth, where it stays, by the same
    amount each; 0: it stays whole. Counted as those are. Nothing comes after the last steps that corrects them."""
    max_kl: float | None = Field(None, gt=0)
    """How far one step may move the policy: KL(before ‖ after), mean over the step's trained tokens, in nats. A step
    that goes further is halved until it does not, at the price of a forward pass each time. None: no bound."""
    kl_coefficient: float = Field(0.0, ge=0)
    """Weight of the KL divergence to the parent in the loss (k3 estimator); 0 leaves it out."""
    importance_cap: float | None = Field(None, gt=0)
    """Truncated importance sampling: ratios are taken to the parent's logprobs as the trainer computes them, and each
    token weighs min(trainer's / engine's probability, cap). None: ratios are taken as `behaviour` says."""
    behaviour: Literal["engine", "trainer"] = "engine"
    """Whose logprobs of the parent ratios are taken to. `trainer` leaves the engine's out: ratios are exactly 1 in the
    first step, and equal tokens give equal bytes although an engine's last digits depend on what it batched."""

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of AdamW's step of that number, from 0."""
        rising = (step + 1) / (self.warmup_steps + 1)
        fallen = min(1.0, max(0, step - self.warmup_steps) / self.decay_steps) if self.decay_steps else 0.0
        return self.learning_rate * min(rising, 1.0 - 0.9 * fallen)

    @model_validator(mode="after")
    def _one_word_on_the_engine(self) -> "UpdateConfig":
        if self.behaviour == "trainer" and self.importance_cap is not None:
            raise ValueError(
                "importance_cap: weighs tokens by the engine's logprobs, which `behaviour: trainer` leaves out. Leave "
                "one of the two out."
            )
        return self


def uses_engine_logprobs(config: TrainingConfig) -> bool:
    """Whether what is trained depends on behaviour logprobs: if not, equal tokens give equal checkpoints."""
    return isinstance(config, UpdateConfig) and config.behaviour == "engine"
