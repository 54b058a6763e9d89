"""What a run may spend and how often it may fail, counted as it goes. Nothing is asked or stored here."""

from collections import deque

from pydantic import BaseModel, ConfigDict, Field

from serving.amounts import reached, total
from serving.endpoint import LlmCall
from serving.errors import BudgetExceeded, EndpointFailing


class Budget(BaseModel):
    """Bounds on what one ledger asks; None is no bound. Requests under way when a bound is reached still count."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    max_calls: int | None = Field(None, ge=0)
    max_tokens: int | None = Field(None, ge=0)
    """Prompt and answer together."""
    max_usd: float | None = Field(None, ge=0)
    """At the prices of the models; every model needs one."""
    max_failure_share: float = Field(0.5, ge=0, le=1)
    """Of the last `failure_window` requests to one endpoint; above it nothing more is asked."""
    failure_window: int = Field(20, ge=1)


class Meter:
    """What has been asked so far within a budget. Stored answers cost nothing and are not counted."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.calls = 0
        self.tokens = 0
        self.usd = 0.0
        self._failed: dict[str, deque[bool]] = {}

    def admit(self, template: str) -> None:
        """Count one more request. Raises BudgetExceeded if a bound is reached."""
        spent = (
            (self.calls, self.budget.max_calls, "calls"),
            (self.tokens, self.budget.max_tokens, "tokens"),
            (self.usd, self.budget.max_usd, "USD"),
        )
        for used, bound, what in spent:
            if bound is not None and reached(used, bound):
                raise BudgetExceeded(
                    f"The budget of {bound} {what} is used up after {self.calls} calls, {self.tokens} tokens and "
                    f"{self.usd:.4f} USD, before a request of {template}. Everything answered is stored; run again "
                    "with a larger budget to continue."
                )
        self.calls += 1

    def answered(self, url: str, call: LlmCall) -> None:
        """Count an answer of the endpoint at `url`."""
        self.tokens += call.prompt_tokens + call.completion_tokens
        self.usd = total((self.usd, call.cost_usd or 0.0))
        self._note(url, failed=False)

    def failed(self, url: str, error: Exception) -> None:
        """Count a request that got no answer. Raises EndpointFailing if that happens too often."""
        recent = self._note(url, failed=True)
        if len(recent) == recent.maxlen and sum(recent) > self.budget.max_failure_share * len(recent):
            raise EndpointFailing(
                f"{url}: {sum(recent)} of the last {len(recent)} requests failed, the last with: {error} "
                "Nothing more is asked. Everything answered is stored; run again to continue once the endpoint answers."
            ) from error

    def _note(self, url: str, *, failed: bool) -> deque[bool]:
        recent = self._failed.setdefault(url, deque(maxlen=self.budget.failure_window))
        recent.append(failed)
        return recent
