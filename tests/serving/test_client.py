"""What the engine samples is exactly what the trainer can train on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.client import Client
from serving.endpoint import ChatRequest, Completion, CompletionRequest, Endpoint, Message
from serving.errors import EndpointError
from serving.models import ResolvedModel

pytestmark = pytest.mark.vllm

_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_PROMPT = [1, 4093, 198, 19556, 28, 905, 17, 2, 198, 1, 520, 9531, 198]


@pytest.fixture(scope="module")
def adapted(smollm2: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """The policy in transformers with a random adapter that changes it clearly, and the adapter's folder."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    base = AutoModelForCausalLM.from_pretrained(smollm2.path, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=_TARGETS, lora_dropout=0.0))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.02)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    yield model.eval(), folder


def _asks(**settings: Any) -> CompletionRequest:
    return CompletionRequest(prompt_ids=tuple(_PROMPT), **settings)


def _trainer_logprobs(model: Any, completion: Completion) -> list[float]:
    import torch

    ids = torch.tensor([[*_PROMPT, *completion.token_ids]])
    with torch.no_grad():
        logprobs = model(ids).logits[0, len(_PROMPT) - 1 : -1].log_softmax(-1)  # (completion tokens, vocabulary)
    return logprobs.gather(1, ids[0, len(_PROMPT) :, None])[:, 0].tolist()


def _largest_gap(a: Any, b: Any) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def test_engine_and_trainer_agree_on_every_sampled_token_with_and_without_an_adapter(
    vllm: Endpoint, adapted: tuple[Any, Path]
) -> None:
    model, folder = adapted

    async def sample() -> tuple[Completion, Completion, tuple[float, ...]]:
        async with Client(vllm) as client:
            await client.load_adapter("policy-1", folder)
            assert set(await client.models()) == {vllm.model, "policy-1"}
            base, tuned = await asyncio.gather(
                client.complete(_asks(max_tokens=16, seed=7)),
                client.complete(_asks(model="policy-1", max_tokens=16, seed=7)),
            )
            scored = await client.score(_PROMPT, base.token_ids, model="policy-1")
            await client.unload_adapter("policy-1")
            assert await client.models() == (vllm.model,)
            return base, tuned, scored

    base, tuned, scored = asyncio.run(sample())
    assert _largest_gap(_trainer_logprobs(model, tuned), tuned.logprobs) < 1e-3
    assert _largest_gap(_trainer_logprobs(model, base), scored) < 1e-3
    with model.disable_adapter():
        assert _largest_gap(_trainer_logprobs(model, base), base.logprobs) < 1e-3
    assert _largest_gap(base.logprobs, scored) > 0.1, "the adapter must change the policy"


def test_a_seeded_request_gives_the_same_tokens_alone_and_in_a_batch(vllm: Endpoint) -> None:
    async def sample() -> tuple[Completion, list[Completion]]:
        async with Client(vllm) as client:
            alone = await client.complete(_asks(max_tokens=16, seed=11))
            batch = [client.complete(_asks(max_tokens=16, seed=seed)) for seed in range(8, 16)]
            return alone, await asyncio.gather(*batch)

    alone, batch = asyncio.run(sample())
    assert batch[3].token_ids == alone.token_ids
    assert _largest_gap(batch[3].logprobs, alone.logprobs) < 1e-3
    assert len({completion.token_ids for completion in batch}) == len(batch), "other seeds must give other tokens"


def test_the_stop_token_is_part_of_what_was_sampled(vllm: Endpoint) -> None:
    async def sample(stop: list[int]) -> Completion:
        async with Client(vllm) as client:
            return await client.complete(_asks(max_tokens=6, seed=11, stop_token_ids=stop))

    free = asyncio.run(sample([]))
    stopped = asyncio.run(sample([free.token_ids[3]]))
    end = free.token_ids.index(free.token_ids[3]) + 1
    assert (stopped.token_ids, stopped.finish_reason) == (free.token_ids[:end], "stop")
    assert (free.prompt_tokens, free.finish_reason) == (len(_PROMPT), "length")


def test_an_answer_follows_the_schema_it_was_asked_in(vllm: Endpoint) -> None:
    import json

    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "colour": {"enum": ["red", "green"]}},
        "required": ["name", "colour"],
        "additionalProperties": False,
    }
    request = ChatRequest(
        template="t",
        template_sha256="0" * 64,
        messages=(Message(role="user", content="Name a fruit and its colour."),),
        response_schema=schema,
        max_tokens=64,
        seed=3,
    )

    async def ask() -> Any:
        async with Client(vllm) as client:
            return await client.chat(request), await client.chat(request)

    first, again = asyncio.run(ask())
    fruit = json.loads(first.text)
    assert set(fruit) == {"name", "colour"}
    assert fruit["colour"] in ("red", "green")
    assert first.text == again.text
    assert first.prompt_tokens > 0
    assert first.completion_tokens > 0


def test_a_request_the_engine_refuses_says_why_at_once(vllm: Endpoint) -> None:
    with pytest.raises(EndpointError, match="no-such-policy"):
        asyncio.run(Client(vllm).complete(_asks(model="no-such-policy", max_tokens=1, seed=0)))


def test_a_stranger_without_the_key_is_turned_away(vllm: Endpoint) -> None:
    stranger = vllm.model_copy(update={"api_key": "guess"})
    with pytest.raises(EndpointError, match="nauthorized"):
        asyncio.run(Client(stranger).complete(_asks(max_tokens=1, seed=0)))
