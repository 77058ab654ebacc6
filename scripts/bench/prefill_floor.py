"""How fast the target alone runs on a GPU, without heads and copies: what a capture is compared with.

Usage: prefill_floor.py TARGET [BATCH_TOKENS]. Prints tokens/s, and what the matrix products alone would take at 790
TFLOP/s, for rows of 512 tokens.
"""

from __future__ import annotations

import sys
import time

import torch
from draftbridge.target.layer_states import text_decoder
from draftbridge.target.target import load_model

LENGTH = 512
PEAK = 790e12


@torch.inference_mode()
def main() -> None:
    model = load_model(sys.argv[1], torch.bfloat16).cuda()
    decoder = text_decoder(model)
    rows = int(sys.argv[2] if len(sys.argv) > 2 else 16384) // LENGTH
    ids = torch.randint(0, 1000, (rows, LENGTH), device="cuda")
    for _ in range(3):
        decoder(input_ids=ids, use_cache=False)
    torch.cuda.synchronize()
    begun, passes = time.perf_counter(), 0
    while time.perf_counter() - begun < 5:
        decoder(input_ids=ids, use_cache=False)
        torch.cuda.synchronize()
        passes += 1
    rate = passes * rows * LENGTH / (time.perf_counter() - begun)
    embedding = decoder.get_input_embeddings().weight
    weights = sum(p.numel() for p in decoder.parameters()) - embedding.numel()
    print(f"prefill {rate:.0f} tokens/s; matrix products alone {PEAK / (2 * weights):.0f} tokens/s")


main()
