"""Feature files and a target config for scripts/bench/ingest.ts: `make_ingest_files.py DIR COUNT TOKENS HIDDEN`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch


def main() -> None:
    directory = Path(sys.argv[1])
    count, tokens, hidden = (int(word) for word in sys.argv[2:5])
    (directory / "features").mkdir(parents=True)
    (directory / "target").mkdir()
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "vocab_size": 1000,
        "eos_token_id": 2,
    }
    (directory / "target" / "config.json").write_text(json.dumps(config))
    # All files hold the same noise: their content does not change how fast they are copied.
    states = torch.randn(1, tokens, 4 * hidden).bfloat16()
    for index in range(count):
        sample = {
            "input_ids": torch.randint(3, 1000, (tokens,)),
            "loss_mask": torch.ones(tokens, dtype=torch.int64),
            "hidden_state": states[..., :hidden].clone(),
            "aux_hidden_state": states[..., hidden:].clone(),
        }
        torch.save(sample, directory / "features" / f"data_{index:05d}.ckpt")


if __name__ == "__main__":
    main()
