"""Calls of the generator model as rows, and as edges to everything that was made of their answers."""

from collections.abc import Iterable
from typing import Any

from envs.task import Rejection
from serving.endpoint import LlmCall
from serving.ledger import Ledger
from warehouse.lineage import Edge


def call_rows(ledger: Ledger, ids: Iterable[str]) -> list[dict[str, Any]]:
    """One row per LLM call, out of the ledger."""
    return [call_row(call) for call in ledger.calls(sorted(set(ids)))]


def call_row(call: LlmCall) -> dict[str, Any]:
    """The row of one LLM call."""
    return {
        "id": call.id,
        "model": call.model,
        "template": call.request.template,
        "template_sha256": call.request.template_sha256,
        "seed": call.request.seed,
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "seconds": call.seconds,
        "finish_reason": call.finish_reason,
        "cost_usd": call.cost_usd,
        "record": call.canonical(),
    }


def call_edges(ids: Iterable[str], kind: str, child: str, relation: str) -> list[Edge]:
    """From the LLM calls `ids` to what was made of their answers."""
    return [Edge("llm_call", call, kind, child, relation) for call in ids]


def refusal_edges(rejections: Iterable[Rejection]) -> list[Edge]:
    """From LLM calls to what was rejected of their answers."""
    return [
        Edge("llm_call", call, "rejection", rejection.id, "refused")
        for rejection in rejections
        for call in rejection.made_from
    ]


def hook_edges(source: str | None, kind: str, children: Iterable[str]) -> list[Edge]:
    """From a domain's own Python to what it took part in; none without any."""
    return [Edge("hooks", source, kind, child, "wrote") for child in children if source]
