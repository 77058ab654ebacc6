"""Writes small random feature files in the reference's form: one `.ckpt` per sample.

    python test/support/make_features.py DIR [--count 11] [--hidden 32] [--vocab 320] [--seed 0]

Lengths differ from sample to sample, the first third of each is prompt (mask 0), tensors are float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def make_features(
    directory: Path, *, count: int, hidden: int, vocab: int, seed: int
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    for index in range(count):
        length = 9 + 5 * index % 13
        # A few tokens only, so that a draft vocabulary smaller than the target's still holds most of them.
        ids = torch.randint(3, min(vocab, 40), (length,), generator=generator)
        mask = torch.ones(length, dtype=torch.int64)
        mask[: length // 3] = 0
        sample = {
            "input_ids": ids,
            "loss_mask": mask,
            "hidden_state": torch.randn(1, length, hidden, generator=generator),
            "aux_hidden_state": torch.randn(1, length, 3 * hidden, generator=generator),
        }
        torch.save(sample, directory / f"data_{index:03d}.ckpt")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=11)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--vocab", type=int, default=320)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    make_features(
        given.directory,
        count=given.count,
        hidden=given.hidden,
        vocab=given.vocab,
        seed=given.seed,
    )


if __name__ == "__main__":
    main()
