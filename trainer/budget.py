"""What one rollout may still use: tokens, time and money. Which limit ends it has a name, that of its stop reason.

Turns and context are no budget: they are `player`'s.
"""

from time import perf_counter

from envs.task import Toolbox
from serving.amounts import reached, token_cost, total
from serving.endpoint import Completion
from trainer.rollout import Charge, StopReason
from trainer.settings import RolloutConfig


class Budget:
    """Begins when it is made. Latencies of simulated experts, for which nobody waits, count as time."""

    def __init__(self, config: RolloutConfig, toolbox: Toolbox) -> None:
        self.config, self.toolbox = config, toolbox
        self.completion_tokens = 0
        """Of the turns that are over: a turn's calls are made whatever the turn cost in tokens."""
        self.spent_usd = 0.0
        self.declared_s = 0.0
        self.began = perf_counter()

    def exhausted(self) -> StopReason | None:
        """What is used up, if something is."""
        if self.tokens_left() <= 0:
            return StopReason.TOKEN_LIMIT
        seconds = self.seconds_left()
        if seconds is not None and seconds <= 0:
            return StopReason.TIME_LIMIT
        if self.config.max_cost_usd is not None and reached(self.spent_usd, self.config.max_cost_usd):
            return StopReason.COST_LIMIT
        return None

    def tokens_left(self) -> int:
        """What the next completion may have."""
        per_turn, limit = self.config.max_tokens_per_turn, self.config.max_completion_tokens
        return per_turn if limit is None else min(per_turn, limit - self.completion_tokens)

    def seconds_left(self) -> float | None:
        """None without a limit."""
        limit = self.config.max_wall_s
        return None if limit is None else limit - (perf_counter() - self.began + self.declared_s)

    def pay_tokens(self, completion: Completion) -> float:
        """Tokens at the toolbox's prices per million, in USD. The whole prompt is paid for every turn."""
        prices = self.toolbox.input_usd_per_mtok, self.toolbox.output_usd_per_mtok
        usd = token_cost(completion.prompt_tokens, len(completion.token_ids), *prices)
        self.spent_usd = total((self.spent_usd, usd))
        return usd

    def pay(self, charge: Charge) -> None:
        """A call that was made."""
        self.spent_usd = total((self.spent_usd, charge.cost_usd(self.toolbox)))
        self.declared_s += charge.latency_s if charge.simulated else 0.0
