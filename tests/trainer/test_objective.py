"""What a step minimises: its denominator, the KL to the parent, the weight for the engine's mismatch."""

import math
from pathlib import Path

import pytest
import torch

from tests.trainer.small import small_job, small_rows
from trainer.jobs import UpdateJob
from trainer.objective import ParentLogprobs, StepObjective, denominator
from trainer.packing import Scores, pack_rows
from trainer.policy import load_policy, make_deterministic
from trainer.settings import UpdateConfig
from trainer.update import update

ROWS = small_rows(groups=1, size=2)


def loss_of(logprobs: torch.Tensor, parent: torch.Tensor, config: UpdateConfig) -> torch.Tensor:
    """The loss of both rows of a group in a later step, when the policy has left its parent."""
    pack = pack_rows(ROWS, torch.device("cpu"))
    known = ParentLogprobs()
    known.keep(pack, parent)
    objective = StepObjective(config, ROWS, known, first=False)
    return objective(Scores(logprobs=logprobs, entropy=torch.zeros_like(logprobs)), pack)


@pytest.fixture
def tokens() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(policy, parent, engine, advantages), apart by at most 0.1 nats: nothing is clipped."""
    pack = pack_rows(ROWS, torch.device("cpu"))
    draw = torch.Generator().manual_seed(0)
    parent = pack.behaviour + 0.1 * torch.rand(len(pack.behaviour), generator=draw)
    policy = parent + 0.1 * torch.rand(len(parent), generator=draw)
    return policy, parent, pack.behaviour, pack.advantages


def test_a_constant_denominator_counts_rollouts_and_not_their_tokens() -> None:
    constant = UpdateConfig(aggregation="constant", rollout_tokens=100)
    assert denominator(ROWS, constant) == 2 * 100
    assert denominator(ROWS, UpdateConfig()) == sum(sum(row.trained) for row in ROWS) == 4 + 5
    forked = [*ROWS, ROWS[0].model_copy(update={"part": 1})]
    assert denominator(forked, constant) == 2 * 100, "a rollout of two rows counts once"


def test_the_constant_denominator_only_scales_the_loss(tokens) -> None:
    policy, parent, _, _ = tokens
    mean = loss_of(policy, parent, UpdateConfig())
    constant = loss_of(policy, parent, UpdateConfig(aggregation="constant", rollout_tokens=100))
    assert torch.allclose(mean * 9, constant * 200)


def test_the_kl_to_the_parent_is_added_with_its_coefficient(tokens) -> None:
    policy, parent, _, _ = tokens
    added = loss_of(policy, parent, UpdateConfig(kl_coefficient=0.5)) - loss_of(policy, parent, UpdateConfig())
    log_ratio = parent - policy
    assert torch.allclose(added, 0.5 * (log_ratio.exp() - 1 - log_ratio).sum() / 9, atol=1e-6)


def test_by_default_ratios_are_taken_to_the_engine(tokens) -> None:
    policy, parent, engine, advantages = tokens
    assert torch.allclose(loss_of(policy, parent, UpdateConfig()), -((policy - engine).exp() * advantages).sum() / 9)


def test_truncated_importance_sampling_takes_ratios_to_the_parent_and_weighs_the_mismatch(tokens) -> None:
    policy, parent, engine, advantages = tokens
    found = loss_of(policy, parent, UpdateConfig(importance_cap=1.05))
    weight = (parent - engine).exp().clamp(max=1.05)
    assert (weight == 1.05).any() and (weight < 1.05).any()
    assert torch.allclose(found, -(weight * (policy - parent).exp() * advantages).sum() / 9)


def test_the_mismatch_of_every_step_is_to_the_parent_and_not_to_the_policy_that_has_moved(tmp_path: Path) -> None:
    job = small_job(tmp_path, minibatches=2, epochs=2)
    steps = update(job).steps
    assert len(steps) == 4
    for first, second in ((0, 2), (0, 3)):
        assert steps[first]["kl_to_parent"] == pytest.approx(0, abs=1e-7)
        assert steps[second]["kl_to_parent"] > 1e-4, "it has moved"
    both = [sum(step["mismatch_mean"] * step["trained_tokens"] for step in steps[at : at + 2]) for at in (0, 2)]
    assert both[0] == pytest.approx(both[1], rel=1e-5), "the same tokens, whatever the policy does"
    assert steps[1]["mismatch_kl"] > 0 and steps[1]["mismatch_mean"] <= steps[1]["mismatch_max"]


def test_an_engine_that_computes_like_the_trainer_has_no_mismatch_and_weighs_nothing(tmp_path: Path) -> None:
    job = small_job(tmp_path, rows=on_policy(tmp_path))
    plain = update(job)
    weighed = update(small_job(tmp_path, rows=on_policy(tmp_path), importance_cap=2.0))
    assert plain.steps[0]["mismatch_max"] < 1e-5 and weighed.steps[0]["truncated_share"] == 0
    assert plain.steps[0]["grad_norm"] == pytest.approx(weighed.steps[0]["grad_norm"], rel=1e-4)


def test_a_penalty_keeps_the_policy_nearer_to_its_parent(tmp_path: Path) -> None:
    free = update(small_job(tmp_path, epochs=8)).steps[-1]["kl_to_parent"]
    held = update(small_job(tmp_path, epochs=8, kl_coefficient=50.0)).steps[-1]["kl_to_parent"]
    assert held < 0.5 * free


def on_policy(folder: Path) -> list:
    """The rows as an engine without any mismatch would have sampled them."""
    job: UpdateJob = small_job(folder)
    make_deterministic(job.seed, 1)
    model = load_policy(job, job.config)
    rows = []
    for row in small_rows():
        ids = torch.tensor([row.token_ids])
        with torch.no_grad():
            found = model(input_ids=ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0].tolist()
        behaviour = tuple(
            logprob if mark else 0.0 for logprob, mark in zip([math.nan, *found], row.trained, strict=True)
        )
        rows.append(row.model_copy(update={"behaviour": behaviour}))
    return rows
