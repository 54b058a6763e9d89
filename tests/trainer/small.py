"""Updates of a model of a few thousand weights on random rows: everything real, in a second."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from serving.models import ResolvedModel
from trainer.jobs import TrainingResult, UpdateJob
from trainer.process import RESULT
from trainer.rows import TrainingRow, write_training_rows
from trainer.settings import UpdateConfig

REPOSITORY = Path(__file__).parents[2]
VOCABULARY = 64


def small_model(folder: Path) -> Path:
    """A random Llama of two layers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")  # what else lies in a model folder
    return folder


def speaking_model(folder: Path, smollm2: ResolvedModel) -> Path:
    """A random Llama with SmolLM2's tokenizer, so that it can be told and trained anything."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(smollm2.path / name, folder / name)
    return folder


def small_rows(groups: int = 4, size: int = 4) -> list[TrainingRow]:
    """Groups that share a prompt, with advantages that add up to nothing."""
    draw = random.Random(1)
    rows = []
    for group in range(groups):
        prompt = tuple(draw.randrange(VOCABULARY) for _ in range(12))
        for place in range(size):
            said = tuple(draw.randrange(VOCABULARY) for _ in range(4 + place))
            rows.append(
                TrainingRow(
                    rollout_id=f"r{group}{place}",
                    group_id=f"g{group}",
                    token_ids=prompt + said,
                    trained=(False,) * len(prompt) + (True,) * len(said),
                    behaviour=(0.0,) * len(prompt) + tuple(-4.2 + 0.2 * draw.random() for _ in said),
                    advantage=place - (size - 1) / 2,
                )
            )
    return rows


def small_job(folder: Path, rows: list[TrainingRow] | None = None, **settings: Any) -> UpdateJob:
    """An update of the model `folder`/model, which is made unless it is there."""
    model = folder / "model"
    if not model.exists():
        small_model(model)
    write_training_rows(folder / "rows.parquet", small_rows() if rows is None else rows)
    return UpdateJob(
        base_model_name="small",
        base_model_path=str(model),
        base_model_fingerprint="small@0",
        rows_path=str(folder / "rows.parquet"),
        artefacts_dir=str(folder / "artefacts"),
        seed=3,
        config=UpdateConfig(**{"threads": 1, "learning_rate": 1e-2, **settings}),
    )


def child_of(parent: TrainingResult, job: UpdateJob) -> UpdateJob:
    """The job, continuing from what another has made."""
    return job.model_copy(
        update={"parent_checkpoint_id": parent.checkpoint_id, "parent_adapter_path": parent.checkpoint_path}
    )


def in_a_process(job: UpdateJob, folder: Path) -> TrainingResult:
    """The job done by the training process, in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-m", "trainer.process", str(folder / "job.json")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    return TrainingResult.model_validate_json((folder / RESULT).read_bytes())
