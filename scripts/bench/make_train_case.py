"""A target's frozen parts and feature files for scripts/bench/train.ts: `… DIR COUNT LENGTH LIVE SHAPE`.

LIVE is the share of each sample's tokens that are trained. Samples are turns of 256 tokens that end with the answer.
SHAPE is `qwen` (the draft of Qwen2.5-7B) or `small`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

_QWEN = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
}
_SMALL = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 4000,
}
_TURN = 256


def _target(folder: Path, shape: dict[str, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, hidden = shape["vocab_size"], shape["hidden_size"]
    config = {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": False,
        "eos_token_id": 2,
        "bos_token_id": 1,
        **shape,
    }
    (folder / "config.json").write_text(json.dumps(config))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # A head whose logits of a unit-normal hidden state are spread like those of a model.
    head = torch.randn(vocabulary, hidden, device=device).mul_(3 / hidden**0.5).bfloat16().cpu()
    embedding = torch.randn(vocabulary, hidden, device=device).bfloat16().cpu()
    norm = torch.ones(hidden, dtype=torch.bfloat16)
    tensors = {"model.embed_tokens.weight": embedding, "lm_head.weight": head, "model.norm.weight": norm}
    save_file(tensors, folder / "model.safetensors")


def main() -> None:
    directory, (count, length) = Path(sys.argv[1]), (int(word) for word in sys.argv[2:4])
    live, shape = float(sys.argv[4]), {"qwen": _QWEN, "small": _SMALL}[sys.argv[5]]
    torch.manual_seed(1)
    if not (directory / "target").exists():
        _target(directory / "target", shape)
    features = directory / f"features-{length}-{live:g}"
    features.mkdir(parents=True)
    hidden = shape["hidden_size"]
    mask = (torch.arange(length) % _TURN >= _TURN * (1 - live)).long()
    for index in range(count):
        states = torch.randn(1, length, 4 * hidden).bfloat16()
        sample = {
            "input_ids": torch.randint(3, shape["vocab_size"], (length,)),
            "loss_mask": mask.clone(),
            "hidden_state": states[..., :hidden].clone(),
            "aux_hidden_state": states[..., hidden:].clone(),
        }
        torch.save(sample, features / f"data_{index:05d}.ckpt")


if __name__ == "__main__":
    main()
