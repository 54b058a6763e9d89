"""Merged weights say what the adapter said; what cannot be merged exactly is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from trainer.checkpoint import ADAPTER_CONFIG
from trainer.merge import KEPT, MergeRefused, mergeable, merged_model

TOKENS = torch.tensor([[5, 17, 300, 4000]])


@pytest.fixture
def adapter(tiny_model: Path, tmp_path: Path) -> Path:
    """An adapter on all linear layers that changes what the tiny model says."""
    torch.manual_seed(1)
    settings = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), settings)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def says(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


def test_merged_weights_answer_as_the_adapter_does(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    plain = says(base)
    adapted = says(PeftModel.from_pretrained(base, adapter))
    merged = says(AutoModelForCausalLM.from_pretrained(merged_model(tiny_model, adapter, tmp_path / "merged")))
    assert (adapted - plain).abs().max() > 1e-2
    assert torch.allclose(merged, adapted, atol=1e-5)


def test_only_the_last_few_merged_folders_are_kept(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        shutil.copytree(adapter, tmp_path / name)
        newest = merged_model(tiny_model, tmp_path / name, tmp_path / "merged")
    kept = [path for path in (tmp_path / "merged").iterdir() if path.is_dir()]
    assert len(kept) == KEPT and newest in kept


def test_merged_weights_that_were_altered_or_are_of_an_altered_adapter_are_made_again(
    tiny_model: Path, adapter: Path, tmp_path: Path
) -> None:
    folder = merged_model(tiny_model, adapter, tmp_path / "merged")
    merged = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("model.safetensors", "config.json", "merged.json"):
        (folder / name).write_bytes(merged[name][:-1])
        merged_model(tiny_model, adapter, tmp_path / "merged")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == merged, name
    settings = adapter / ADAPTER_CONFIG
    settings.write_text(settings.read_text().replace('"lora_alpha": 16', '"lora_alpha": 160'))
    merged_model(tiny_model, adapter, tmp_path / "merged")
    assert (folder / "model.safetensors").read_bytes() != merged["model.safetensors"]


@pytest.mark.parametrize(("setting", "value"), [("use_dora", True), ("bias", "all"), ("use_rslora", True)])
def test_an_adapter_that_is_more_than_plain_lora_is_refused(
    tiny_model: Path, adapter: Path, tmp_path: Path, setting: str, value: object
) -> None:
    file = adapter / ADAPTER_CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | {setting: value}))
    with pytest.raises(MergeRefused, match=f"{setting} is .*engine.adapters = served"):
        merged_model(tiny_model, adapter, tmp_path / "merged")


def test_weights_of_half_precision_are_not_merged(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).save_pretrained(half)
    assert mergeable(tiny_model) and not mergeable(half)
    with pytest.raises(MergeRefused, match="BF16"):
        merged_model(half, adapter, tmp_path / "merged")
    assert not [path for path in (tmp_path / "merged").iterdir() if path.is_dir()]


def test_an_adapter_of_another_model_is_refused(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    config = AutoModelForCausalLM.from_pretrained(tiny_model).config
    config.num_hidden_layers = 1
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "shallow")
    with pytest.raises(MergeRefused, match="another model's adapter"):
        merged_model(tmp_path / "shallow", adapter, tmp_path / "merged")
