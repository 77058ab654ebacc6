"""A target of the shape of Qwen2.5-7B with random weights in bf16, and the tokenizer of another target.

Usage: make_random_target.py TOKENIZER_OF OUT [LAYERS]
"""

from __future__ import annotations

import sys

import torch
from draftbridge.target.target import load_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM


def main() -> None:
    source, out = sys.argv[1], sys.argv[2]
    config = Qwen2Config(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=int(sys.argv[3]) if len(sys.argv) > 3 else 28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        max_position_embeddings=32768,
        rms_norm_eps=1e-6,
        rope_theta=1e6,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2ForCausalLM(config)
    model.save_pretrained(out)
    load_tokenizer(source, None).save_pretrained(out)


main()
