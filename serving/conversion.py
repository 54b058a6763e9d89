"""GGUF → a plain transformers folder: de-quantised float32 safetensors, config, tokenizer with its chat template.

Run as a program (`python conversion.py model.gguf folder`) in a child process, so that gigabytes of weights and torch
itself leave with it. Imports nothing of ours, for the same reason. Which file and where it is cached: `serving.models`.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

# Raised whenever the bytes written for the same GGUF change: it is part of the cache folder and the fingerprint.
CONVERSION = 1


def convert(gguf: Path, folder: Path) -> None:
    """Write the model in `gguf` to `folder` (created) in float32, loadable by transformers and by vLLM.

    float32, although the weights had four bits: the trainer and the engine then compute the same log-probabilities
    (to about 1e-5), which a bf16 round trip on one side would spoil.
    Raises ValueError when the file has no chat template or lacks an end token: such a model cannot be talked to.
    """
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if not tokenizer.chat_template or tokenizer.eos_token_id is None:
        raise ValueError(f"{gguf.name} carries no chat template or no end token; take an instruct model.")
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = loaded.config
    # transformers refuses to save a model it read from GGUF, because its config still says "quantised".
    del config.quantization_config
    config._name_or_path = ""
    config.architectures = [type(loaded).__name__]
    with torch.device("meta"):
        plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict(), assign=True)  # no second copy: 1.5B parameters are 6 GB
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
