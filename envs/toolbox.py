"""What one rollout may use: domain tools, distractors from other domains, experts by some name, a price list.

Drawn per task instance from the caller's `rng`, and stored with the rollout: the policy has to read names and prices,
since by default none of them is the same the next time. How a call is carried out is not known here.
"""

import re
from collections.abc import Sequence
from random import Random
from string import ascii_lowercase
from typing import Literal

from pydantic import Field, model_validator

from envs.experts import ExpertProfile
from envs.record import Record
from envs.spec import EnvironmentSpec
from envs.task import Distractor, Expert, Preference, Task, Toolbox

EXPERT_WISH = 0.3
"""Weight of a wish for an expert."""


class ToolboxUnavailable(ValueError):
    """A toolbox cannot be drawn as the campaign wants it."""


class ToolboxConfig(Record):
    """How toolboxes are drawn. By default a task's own is used as it is."""

    unneeded_tools: int | None = Field(None, ge=0)
    """Domain tools beside those that the golden program uses or the user wishes for; None leaves the task's own
    selection."""
    distractors: int = Field(0, ge=0)
    """Tools of other domains among the collected ones."""
    experts: int = Field(0, ge=0, le=len(ascii_lowercase))
    """How many of `pool` a rollout has, at most."""
    pool: tuple[ExpertProfile, ...] = ()
    expert_names: Literal["drawn", "own"] = "drawn"
    """`drawn`: `expert_a`, `expert_b` and so on, whoever that is this time, so that capabilities and prices have to be
    read. `own`: as in the pool, so that a policy can learn who is worth asking."""
    prices: Literal["task", "drawn"] = "task"
    """`task`: a task's own price list, and experts at their declared price. `drawn`: all drawn anew."""
    expert_price_spread: float = Field(4.0, ge=1)
    """Drawn prices of an expert lie between the declared one divided and multiplied by this."""
    expert_preference_rate: float = Field(0.0, ge=0, le=1)
    """How often a task that states no preference gets a wish for one of its experts."""
    redrawn: Literal["per_iteration", "never"] = "per_iteration"
    """Whether a task that comes again in another iteration of training gets another toolbox."""
    seed: int = 0

    @model_validator(mode="after")
    def _pool_fits(self) -> "ToolboxConfig":
        names = [profile.name for profile in self.pool]
        if len(set(names)) < len(names):
            raise ValueError(f"toolbox.pool: two experts have one name: {', '.join(sorted(names))}; rename one")
        if self.experts and not self.pool:
            raise ValueError("toolbox.experts asks for experts, but toolbox.pool declares none; add them there")
        unfit = [name for name in names if not re.fullmatch("[a-z][a-z0-9_]*", name)]
        if self.expert_names == "own" and unfit:
            raise ValueError(
                f"toolbox.pool: '{unfit[0]}' cannot be called like a tool; use small letters, digits and _, or leave "
                "expert_names out"
            )
        return self

    def profile(self, name: str) -> ExpertProfile:
        """The expert of that name. Raises KeyError."""
        for profile in self.pool:
            if profile.name == name:
                return profile
        raise KeyError(name)


def sample_toolbox(
    task: Task, environment: EnvironmentSpec, config: ToolboxConfig, others: Sequence[EnvironmentSpec], rng: Random
) -> Toolbox:
    """The toolbox of one task instance; every rollout of its group gets the same. `others` are other domains.

    Raises ToolboxUnavailable when `others` have no tool left for a distractor, or an expert has a tool's name.
    """
    tools = _tools(task, environment, config, rng)
    distractors = _distractors(environment, config, others, rng)
    names = [*tools, *(distractor.tool for distractor in distractors)]
    drawn = {name: draw_call_price(rng) for name in names}
    tokens = draw_token_prices(rng)
    if config.prices == "task":
        strange = {name: price for name, price in drawn.items() if name not in task.toolbox.tools}
        drawn = {**strange, **task.toolbox.call_prices_usd}
        tokens = task.toolbox.input_usd_per_mtok, task.toolbox.output_usd_per_mtok
    return Toolbox(
        tools=tools,
        call_prices_usd=drawn,
        input_usd_per_mtok=tokens[0],
        output_usd_per_mtok=tokens[1],
        distractors=distractors,
        experts=_experts(config, names, rng),
    )


def sample_preference(task: Task, toolbox: Toolbox, config: ToolboxConfig, rng: Random) -> Preference:
    """The task's preference; where it states none, now and then a wish for one expert of the toolbox.

    It is made here and not with the task: an expert's name is known only when the toolbox is drawn.
    """
    wishes = rng.random() < config.expert_preference_rate
    if task.preference.text or not wishes or not toolbox.experts:
        return task.preference
    wanted = rng.choice(toolbox.experts).name
    return Preference(text=f"Where you can, use {wanted}.", tools={wanted: EXPERT_WISH})


def draw_call_price(rng: Random) -> float:
    """USD of one call. One significant digit: prices are read by the policy, and every digit is a token."""
    return rng.randint(1, 9) / 10 ** rng.choice((3, 4))


def draw_token_prices(rng: Random) -> tuple[float, float]:
    """USD per million tokens, (input, output)."""
    return round(10 ** rng.uniform(-2, 0), 3), round(10 ** rng.uniform(-1, 1), 3)


def _tools(task: Task, environment: EnvironmentSpec, config: ToolboxConfig, rng: Random) -> tuple[str, ...]:
    """In the environment's order, so that the place says nothing about the use."""
    if config.unneeded_tools is None:
        return task.toolbox.tools
    needed = {call.tool for call in task.golden} | set(task.preference.tools)
    others = [tool.name for tool in environment.tools if tool.name not in needed]
    extra = rng.sample(others, min(len(others), config.unneeded_tools))
    return tuple(tool.name for tool in environment.tools if tool.name in needed or tool.name in extra)


def _distractors(
    environment: EnvironmentSpec, config: ToolboxConfig, others: Sequence[EnvironmentSpec], rng: Random
) -> tuple[Distractor, ...]:
    """Tools whose names no tool of the task's environment has, sorted by name."""
    taken = {tool.name for tool in environment.tools}
    # One tool per name: two of the same name could not be told apart.
    found = {
        tool.name: Distractor(tool=tool.name, environment_id=other.id)
        for other in sorted(others, key=lambda other: (other.domain, other.id))
        if other.domain != environment.domain
        for tool in other.tools
        if tool.name not in taken
    }
    if len(found) < config.distractors:
        raise ToolboxUnavailable(
            f"{config.distractors} distractors are wanted for {environment.domain}, the other domains have "
            f"{len(found)} tools. Roll out tasks of more domains together, or lower rollouts.toolbox.distractors."
        )
    return tuple(found[name] for name in sorted(rng.sample(sorted(found), config.distractors)))


def _experts(config: ToolboxConfig, taken: Sequence[str], rng: Random) -> tuple[Expert, ...]:
    """Drawn from the pool in an order that is drawn too, and so is which one is called `expert_a`."""
    chosen = rng.sample(config.pool, min(len(config.pool), config.experts))
    experts = []
    for letter, profile in zip(ascii_lowercase, chosen, strict=False):
        name = profile.name if config.expert_names == "own" else f"expert_{letter}"
        if name in taken:
            raise ToolboxUnavailable(f"an expert and a tool are both called {name}. Rename the expert in toolbox.pool.")
        prices = profile.input_usd_per_mtok, profile.output_usd_per_mtok
        if config.prices == "drawn":
            factor = config.expert_price_spread ** rng.uniform(-1, 1)
            prices = _two_digits(prices[0] * factor), _two_digits(prices[1] * factor)
        experts.append(
            Expert(
                name=name,
                profile=profile.name,
                capability=profile.capability,
                input_usd_per_mtok=prices[0],
                output_usd_per_mtok=prices[1],
                simulated=profile.kind == "simulated",
            )
        )
    return tuple(experts)


def _two_digits(price: float) -> float:
    return float(f"{price:.2g}")
