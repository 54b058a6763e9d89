"""TRL's GRPO trainer on a frozen file of rollouts; runs in the virtual environment of TRL, which has nothing of ours.

`rollout_func`, TRL's own hook, gives the stored tokens instead of generating, so everything after it is TRL's. Ratios
are taken to the stored logprobs, through the entry that TRL keeps for them (`old_per_token_logps`): without it TRL
takes them to the policy itself, where they are 1 and nothing is ever clipped.
Run by `bench/vs_trl.py`: `python theirs.py TASK.json`, which names model, adapter, rows and settings; writes RESULT.
"""
# ruff: noqa: ARG001, ARG002 (what TRL calls has TRL's arguments)

import json
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.utils.logging import disable_progress_bar
from trl import GRPOConfig, GRPOTrainer


class FrozenTrainer(GRPOTrainer):
    """GRPOTrainer that tells its losses, and what it spends before a step can be computed."""

    prepared = (0.0, 0.0)
    loss = 0.0

    def _generate_and_score_completions(self, inputs):
        began = clock()
        batch = super()._generate_and_score_completions(inputs)
        batch["old_per_token_logps"] = batch["sampling_per_token_logps"]
        self.prepared = since(began)
        return batch

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, inputs)
        self.loss += loss.item()
        return loss


class Steps(TrainerCallback):
    """Writes down what each optimizer step takes, its loss and its gradient norm."""

    def __init__(self):
        self.found = []
        self.trainer = None
        self.began = None

    def on_step_begin(self, args, state, control, **kwargs):
        self.began = self.began or clock()  # later steps begin where the one before ended

    def on_step_end(self, args, state, control, **kwargs):
        # Stub, rewards and advantages come to milliseconds, and are taken off: it is the update that is compared.
        wall, cpu = (taken - before for taken, before in zip(since(self.began), self.trainer.prepared, strict=True))
        self.found.append({"seconds": wall, "cpu_seconds": cpu, "loss": self.trainer.loss})
        self.trainer.loss = 0.0
        self.began = clock()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "grad_norm" in logs:
            self.found[-1]["grad_norm"] = float(logs["grad_norm"])


def clock():
    """Wall and processor time."""
    return time.perf_counter(), time.process_time()


def since(began):
    """What both have moved on by."""
    return tuple(now - then for now, then in zip(clock(), began, strict=True))


def stored_rollouts(rows):
    """A `rollout_func`: for every prompt of the batch one stored row, in order."""

    def rollouts(prompts, trainer):
        assert len(prompts) == len(rows), f"asked for {len(prompts)} of {len(rows)} rollouts"
        cut = [(row, row["trained"].index(True)) for row in rows]  # where the prompt ends
        return {
            "prompt_ids": [row["token_ids"][:end] for row, end in cut],
            "completion_ids": [row["token_ids"][end:] for row, end in cut],
            "logprobs": [row["behaviour"][end:] for row, end in cut],
            "env_mask": [[int(mark) for mark in row["trained"][end:]] for row, end in cut],
            "stored_reward": [row["advantage"] for row in rows],
        }

    return rollouts


def stored_reward(completions, stored_reward, **kwargs):
    """The rows' advantages as rewards: they are centred, so TRL's centring leaves them as they are."""
    return stored_reward


def memory_mib(field):
    """VmRSS or VmHWM of this process. Not getrusage, whose peak may be that of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def main(task):
    """Take the task's steps with TRL."""
    imported_mib = memory_mib("VmRSS")
    disable_progress_bar()
    torch.set_num_threads(task["threads"])
    rows = pq.read_table(task["rows"]).to_pylist()
    base = AutoModelForCausalLM.from_pretrained(
        task["model"], dtype=getattr(torch, task["dtype"]), attn_implementation="sdpa"
    )
    model = PeftModel.from_pretrained(base, task["adapter"], is_trainable=True)
    steps = Steps()
    trainer = FrozenTrainer(
        model=model,
        reward_funcs=stored_reward,
        args=GRPOConfig(
            output_dir=task["folder"],
            max_steps=task["steps"],
            # one group a step, all of it generated at once, in micro-batches of the size that is fastest here
            num_generations=len(rows),
            per_device_train_batch_size=task["micro_batch"],
            gradient_accumulation_steps=len(rows) // task["micro_batch"],
            max_completion_length=max(len(row["token_ids"]) for row in rows),
            scale_rewards="none",
            loss_type="dapo",  # mean over all trained tokens of the step
            epsilon=task["clip_low"],
            epsilon_high=task["clip_high"],
            beta=0.0,
            optim="adamw_torch",
            learning_rate=task["learning_rate"],
            lr_scheduler_type="constant",
            adam_beta1=0.9,
            adam_beta2=0.95,
            adam_epsilon=1e-8,
            weight_decay=0.0,
            max_grad_norm=task["max_grad_norm"],
            bf16=task["gpu"],
            use_cpu=not task["gpu"],
            gradient_checkpointing=task["gradient_checkpointing"],
            torch_compile=task["compile"],
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": "stored"}]),
        processing_class=AutoTokenizer.from_pretrained(task["model"]),
        rollout_func=stored_rollouts(rows),
        callbacks=[steps],
    )
    steps.trainer = trainer
    trainer.train()
    held_mib = torch.cuda.max_memory_allocated() / 2**20 if task["gpu"] else memory_mib("VmHWM") - imported_mib
    result = {"steps": steps.found, "held_mib": held_mib}
    Path(task["result"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
