"""What a run may spend and how often it may fail, counted as it goes. Nothing is asked or stored here."""

import logging
from collections import deque
from math import ceil

from pydantic import BaseModel, ConfigDict, Field

from serving.amounts import reached, total
from serving.endpoint import LlmCall
from serving.errors import BudgetExceeded, EndpointFailing

logger = logging.getLogger(__name__)

BYTES_PER_TOKEN = 4
"""By which tokens are estimated where an endpoint gives no usage; of UTF-8, since other scripts take more tokens."""


def estimated_tokens(*texts: str) -> int:
    """About how many tokens these texts have together; at least one."""
    return max(1, ceil(sum(len(text.encode(errors="replace")) for text in texts) / BYTES_PER_TOKEN))


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
        self.estimated = 0  # answers without usage
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
                    f"with a larger budget to continue.{self._estimate_note()}"
                )
        self.calls += 1

    def answered(self, url: str, call: LlmCall) -> None:
        """Count an answer of the endpoint at `url`."""
        if call.prompt_tokens is None or call.completion_tokens is None:
            if not self.estimated:
                logger.warning("%s gives no usage: tokens and cost of its calls are unknown, bounds are estimated", url)
            self.estimated += 1
        prompt_tokens = call.prompt_tokens or estimated_tokens(*(m.content for m in call.request.messages))
        completion_tokens = call.completion_tokens or estimated_tokens(call.text)
        self.tokens += prompt_tokens + completion_tokens
        if call.price is not None:
            self.usd = total((self.usd, call.price.of(prompt_tokens, completion_tokens)))
        self._note(url, failed=False)

    def _estimate_note(self) -> str:
        if not self.estimated:
            return ""
        return f" {self.estimated} answers had no usage; their tokens are estimated, one per {BYTES_PER_TOKEN} bytes."

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
