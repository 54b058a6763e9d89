"""Shared-prefix packing computes less and changes nothing."""

import random
from pathlib import Path

import pytest
import torch

from trainer.jobs import UpdateJob
from trainer.losses import LOSSES
from trainer.objective import ParentLogprobs, StepObjective
from trainer.packing import pack_rows, plan_packs, score
from trainer.policy import causal_lm, load_policy, make_deterministic, trainable
from trainer.rows import TrainingRow
from trainer.settings import UpdateConfig

CPU = torch.device("cpu")
CONFIG = UpdateConfig()


def row(name: str, segments: list[tuple[list[int], bool]], advantage: float) -> TrainingRow:
    ids = [token for tokens, _ in segments for token in tokens]
    trained = [mark for tokens, mark in segments for _ in tokens]
    behaviour = tuple(-10.0 - 0.01 * (token % 7) if mark else 0.0 for token, mark in zip(ids, trained, strict=True))
    return TrainingRow(
        rollout_id=name, group_id="g", token_ids=tuple(ids), trained=tuple(trained), behaviour=behaviour,
        advantage=advantage,
    )  # fmt: skip


@pytest.fixture
def group() -> list[TrainingRow]:
    """Multi-turn rollouts of one prompt: some branch at once, some share a first turn, some a second, two are equal."""
    draw = random.Random(1)

    def tokens(n: int) -> list[int]:
        return [draw.randrange(100, 40_000) for _ in range(n)]

    prompt, first, result = tokens(40), tokens(6), tokens(9)
    shared = [(prompt, False), (first, True), (result, False)]
    rows = [row(f"shared{i}", [*shared, (tokens(5 + i), True)], 0.3 * i - 0.4) for i in range(3)]
    rows += [row(f"alone{i}", [(prompt, False), (tokens(7), True), (tokens(4), False)], 0.5 - i) for i in range(2)]
    deeper = [*shared, (tokens(4), True), (tokens(6), False)]
    rows += [row(f"deeper{i}", [*deeper, (tokens(3 + i), True)], 0.6 - 0.5 * i) for i in range(2)]
    # Last in token order, so that what they share lies in the trie in two places, apart.
    later = [*shared, ([41_000, 41_001], True), (tokens(5), False)]
    rows += [row(f"later{i}", [*later, (tokens(3), True)], 0.2 - 0.3 * i) for i in range(2)]
    rows += [row("twin", list(shared[:2]), -0.2), row("other prompt", [(tokens(30), False), (tokens(3), True)], 0.7)]
    return rows


@pytest.fixture
def model(tiny_model: Path):
    job = UpdateJob(
        base_model_name="tiny", base_model_path=str(tiny_model), base_model_fingerprint="t", rows_path="",
        artefacts_dir="",
    )  # fmt: skip
    make_deterministic(0, 2)
    model = load_policy(job, CONFIG)
    for name, parameter in trainable(model):
        if "lora_B" in name:  # it starts at zero, where half of the gradients vanish
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def gradients(model, packs: list[list[TrainingRow]], loss_name: str, chunk: int = 512) -> tuple[float, torch.Tensor]:
    rows = [row for members in packs for row in members]
    objective = StepObjective(UpdateConfig(loss=loss_name), rows, ParentLogprobs(), first=True)
    total = 0.0
    for members in packs:
        pack = pack_rows(members, CPU)
        scores = score(causal_lm(model), pack, chunk)
        loss = objective(scores, pack)
        loss.backward()
        total += loss.item()
    gradient = torch.cat([parameter.grad.flatten() for _, parameter in trainable(model)])
    model.zero_grad(set_to_none=True)
    return total, gradient


@pytest.mark.parametrize("loss_name", sorted(LOSSES))
def test_packed_loss_and_gradients_equal_those_of_separate_rows(model, group, loss_name) -> None:
    packs = plan_packs(group, 4096)
    assert len(packs) == 2, "the other prompt shares nothing and stays apart"
    packed_loss, packed = gradients(model, packs, loss_name)
    separate_loss, separate = gradients(model, [[row] for row in group], loss_name)
    # Advantages nearly cancel, so that rounding shows in the loss: it is compared with what is added up.
    assert packed_loss == pytest.approx(separate_loss, rel=1e-5, abs=1e-7)
    assert (packed - separate).norm() <= 1e-5 * separate.norm()
    assert separate.norm() > 0


def test_packed_logprobs_equal_a_plain_forward_pass(model, group) -> None:
    members = max(plan_packs(group, 4096), key=len)
    pack = pack_rows(members, CPU)
    scores = score(causal_lm(model), pack, 512)
    for index, found in enumerate(pack.rows):
        ids = torch.tensor([found.token_ids])
        plain = model(input_ids=ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
        marks = torch.tensor(found.trained)[1:]
        assert torch.allclose(scores.logprobs[pack.sequence == index], plain[marks], atol=1e-5)


def test_entropy_is_that_of_the_policy_and_carries_no_gradient(model, group) -> None:
    pack = pack_rows(group[-1:], CPU)
    scores = score(causal_lm(model), pack, 512)
    logits = model(input_ids=torch.tensor([group[-1].token_ids])).logits[0, pack.source]
    assert torch.allclose(scores.entropy, torch.distributions.Categorical(logits=logits).entropy(), atol=1e-4)
    assert not scores.entropy.requires_grad


def test_the_size_of_the_heads_chunks_does_not_matter(model, group) -> None:
    _, whole = gradients(model, plan_packs(group, 4096), "cispo")
    _, pieces = gradients(model, plan_packs(group, 4096), "cispo", chunk=3)
    assert (whole - pieces).norm() <= 1e-5 * whole.norm()


def test_every_distinct_prefix_is_computed_once(group) -> None:
    pack = pack_rows(plan_packs(group[:3], 4096)[0], CPU)
    assert len(pack.token_ids) == 40 + 6 + 9 + (4 + 5 + 6)


def test_a_layer_that_sees_less_than_the_pack_is_refused(model, group) -> None:
    [members] = plan_packs(group[:5], 4096)
    pack = pack_rows(members, CPU)
    model.get_base_model().get_decoder().layers[1].self_attn.register_forward_pre_hook(
        lambda _, args, kwargs: (args, {**kwargs, "sliding_window": len(pack.token_ids) - 1}), with_kwargs=True
    )
    with pytest.raises(ValueError, match="Set max_pack_tokens to"):
        score(causal_lm(model), pack, 512)


def test_packs_keep_within_their_limit(group) -> None:
    packs = plan_packs(group, 80)
    assert sorted(row.name for members in packs for row in members) == sorted(row.name for row in group)
    assert all(len(pack_rows(members, CPU).token_ids) <= 80 for members in packs)
