"""Adapters and whole weights, precision and memory: settings that change how an update is computed and kept."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.small import child_of, small_job
from trainer.admission import JobRefused
from trainer.checkpoint import ADAPTER, MANIFEST, WEIGHTS, read_checkpoint
from trainer.engine import PolicyEngine, ServedPolicy
from trainer.jobs import CanaryJob
from trainer.merge import MergeRefused, merged_model
from trainer.policy import causal_lm, load_policy, make_deterministic, trainable
from trainer.process import trainer_logprobs
from trainer.settings import UpdateConfig
from trainer.stepping import Stepper
from trainer.team import ALONE
from trainer.update import update


def test_full_fine_tuning_writes_a_model_folder_and_its_manifest_says_so(tmp_path: Path) -> None:
    job = small_job(tmp_path, method="full")
    result = update(job)
    folder = Path(result.checkpoint_path)
    manifest = read_checkpoint(folder)
    assert manifest.weights == "whole" and json.loads((folder / MANIFEST).read_text())["weights"] == "whole"
    assert not (folder / ADAPTER).exists() and (folder / "tokenizer.json").exists()
    old, new = (load_file(Path(path) / WEIGHTS) for path in (job.base_model_path, folder))
    assert old.keys() == new.keys(), "an engine finds every weight under its usual name"
    assert all(not torch.equal(old[name], new[name]) for name in old), "every weight learns"


def test_whole_weights_that_were_altered_are_noticed(tmp_path: Path) -> None:
    folder = Path(update(small_job(tmp_path, method="full")).checkpoint_path)
    (folder / WEIGHTS).unlink()
    with pytest.raises(RuntimeError, match="not there"):
        read_checkpoint(folder)


def test_whole_weights_are_continued_scored_and_served_as_a_model_of_their_own(tmp_path: Path) -> None:
    job = small_job(tmp_path, method="full")
    parent = update(job)
    child = update(child_of(parent, job))
    assert child.manifest.parent == parent.checkpoint_id
    assert child.steps[0]["mismatch_mean"] != parent.steps[0]["mismatch_mean"], "its parent is not the base model"
    about = {name: getattr(job, name) for name in ("base_model_name", "base_model_path", "base_model_fingerprint")}
    canary = CanaryJob(**about, prompt_ids=(1, 2), completion_ids=(3, 4))
    base, scored = (trainer_logprobs(one).logprobs for one in (canary, child_of(parent, canary)))
    assert base != scored
    folder = Path(parent.checkpoint_path)
    assert merged_model(Path(job.base_model_path), folder, tmp_path / "merged") == folder
    engine = PolicyEngine.__new__(PolicyEngine)
    engine.merge = False
    with (
        pytest.raises(MergeRefused, match=r"engine\.adapters = merged"),
        engine.serving(ServedPolicy(policy_id=parent.checkpoint_id, adapter_path=str(folder))),
    ):
        pass


def test_whole_weights_continue_an_adapter_but_no_adapter_continues_whole_weights(tmp_path: Path) -> None:
    adapter = update(small_job(tmp_path))
    whole = update(child_of(adapter, small_job(tmp_path, method="full", learning_rate=1e-9)))
    canary = CanaryJob(
        base_model_name="small",
        base_model_path=str(tmp_path / "model"),
        base_model_fingerprint="small@0",
        prompt_ids=(1, 2),
        completion_ids=(3, 4),
    )
    before, after = (trainer_logprobs(child_of(parent, canary)).logprobs for parent in (adapter, whole))
    assert after == pytest.approx(before, abs=1e-5), "the adapter is folded in"
    with pytest.raises(JobRefused, match="method: full"):
        update(child_of(whole, small_job(tmp_path)))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_in_bfloat16_what_learns_stays_float32(tmp_path: Path, method) -> None:
    job = small_job(tmp_path, method=method, dtype="bfloat16", learning_rate=1e-6)
    make_deterministic(0, 1)
    model = load_policy(job, job.config)
    assert {parameter.dtype for _, parameter in trainable(model)} == {torch.float32}
    coarse, fine = (update(small_job(tmp_path, method=method, dtype=dtype)) for dtype in ("bfloat16", "float32"))
    assert coarse.steps[0]["loss"] != fine.steps[0]["loss"]
    assert coarse.steps[0]["grad_norm"] == pytest.approx(fine.steps[0]["grad_norm"], rel=0.1)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_gradient_checkpointing_computes_layers_twice_and_changes_nothing_else(tmp_path: Path, method) -> None:
    results = [update(small_job(tmp_path, method=method, gradient_checkpointing=on)) for on in (False, True)]
    assert results[0].manifest.adapter_sha256 == results[1].manifest.adapter_sha256
    assert results[0].checkpoint_id != results[1].checkpoint_id, "the setting is in the manifest"
    passes = {on: layer_passes(tmp_path, method, on) for on in (False, True)}
    assert passes[True] == 2 * passes[False] > 0


def layer_passes(folder: Path, method: str, on: bool) -> int:
    """How often the layers' attention runs in one step."""
    from trainer.objective import ParentLogprobs, StepObjective
    from trainer.rows import read_training_rows

    job = small_job(folder, method=method, gradient_checkpointing=on)
    make_deterministic(0, 1)
    model = load_policy(job, job.config)
    passes = []
    for layer in causal_lm(model).get_decoder().layers:
        layer.self_attn.register_forward_hook(lambda *_: passes.append(1))
    rows = read_training_rows(Path(job.rows_path))
    Stepper(model, job.config, ALONE).step(rows, StepObjective(job.config, rows, ParentLogprobs(), first=True))
    return len(passes)


def test_settings_at_their_defaults_leave_no_trace_in_jobs_and_manifests() -> None:
    assert UpdateConfig().canonical_fields() == {}
    assert UpdateConfig(kl_coefficient=0.1, epochs=1).canonical_fields() == {"kl_coefficient": 0.1}
