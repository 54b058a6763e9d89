"""FlexAttention over a trie sees what attention row by row sees. Its backward pass takes an accelerator."""

from pathlib import Path

import pytest
import torch

from tests.trainer.small import small_job, small_rows
from trainer.admission import JobRefused
from trainer.flex import path_mask
from trainer.jobs import UpdateJob
from trainer.packing import Pack, pack_rows, plan_packs, score
from trainer.policy import causal_lm, device_here, load_policy, make_deterministic, trainable
from trainer.rows import TrainingRow
from trainer.settings import Attention, UpdateConfig
from trainer.update import update


def row(name: str, *tokens: int) -> TrainingRow:
    """The last two tokens are trained."""
    trained = (False,) * (len(tokens) - 2) + (True,) * 2
    zeros = (0.0,) * len(tokens)
    return TrainingRow(
        rollout_id=name, group_id="g", token_ids=tokens, trained=trained, behaviour=zeros, advantage=1.0
    )  # fmt: skip


def branching() -> Pack:
    """Rows that part early and late; one lies within another."""
    rows = [row("a", 1, 2, 3, 4, 5), row("b", 1, 2, 3, 9, 5), row("c", 1, 2, 7, 8), row("within", 1, 2, 3, 4)]
    return pack_rows(rows, torch.device("cpu"))


def test_a_node_is_seen_by_those_that_descend_from_it_and_by_nobody_else() -> None:
    pack = branching()
    nodes = len(pack.token_ids)
    seen = path_mask(pack.ends).mask_mod(None, None, torch.arange(nodes)[:, None], torch.arange(nodes)[None])
    paths = torch.zeros(nodes, nodes, dtype=torch.bool)
    for branch in pack.branches:
        for own in range(*branch.own):
            for start, stop in branch.ancestors:
                paths[own, start:stop] = True
            paths[own, branch.own[0] : own + 1] = True
    assert torch.equal(seen, paths)
    assert not paths.tril().equal(torch.ones_like(paths).tril()), "some node does not see all before it"


def scores(job: UpdateJob, attention: Attention, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Logprobs of the small rows in their packs, and where there is an accelerator the gradient of their sum."""
    make_deterministic(0, 1)
    model = load_policy(job, UpdateConfig())
    for name, parameter in trainable(model):
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    packs = [pack_rows(members, device) for members in plan_packs(small_rows(), 4096)]
    with torch.set_grad_enabled(device.type != "cpu"):
        found = torch.cat([score(causal_lm(model), pack, 64, attention).logprobs for pack in packs])
    if device.type == "cpu":
        return found, torch.zeros(0)
    found.sum().backward()
    return found.detach(), torch.cat([parameter.grad.flatten() for _, parameter in trainable(model)])


def test_logprobs_are_those_of_attention_row_by_row(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    (one, _), (other, _) = (scores(job, attention, torch.device("cpu")) for attention in ("branches", "flex"))
    assert torch.allclose(one, other, atol=1e-5) and len(one) > 0


@pytest.mark.skipif(device_here().type == "cpu", reason="FlexAttention has no backward pass on processors")
def test_gradients_are_those_of_attention_row_by_row(tmp_path: Path) -> None:
    job = small_job(tmp_path)
    (_, one), (_, other) = (scores(job, attention, device_here()) for attention in ("branches", "flex"))
    assert (one - other).norm() <= 1e-4 * one.norm()


@pytest.mark.skipif(device_here().type != "cpu", reason="there is an accelerator")
def test_without_an_accelerator_it_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(JobRefused, match=r"flex needs an accelerator.*branches"):
        update(small_job(tmp_path, attention="flex"))
    assert not (tmp_path / "artefacts").exists()
