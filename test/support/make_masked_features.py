"""Writes feature files with given masks: `make_masked_features.py DIR "name:hidden:dtype: 0 1 1" …`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("samples", nargs="+")
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    for sample in given.samples:
        name, hidden, kind, mask = sample.split(":")
        dtype: torch.dtype = getattr(torch, kind)
        flags = [int(flag) for flag in mask.split()]
        features = {
            "input_ids": torch.arange(3, 3 + len(flags)),
            "loss_mask": torch.tensor(flags),
            "hidden_state": torch.ones(1, len(flags), int(hidden), dtype=dtype),
            "aux_hidden_state": torch.ones(1, len(flags), 3 * int(hidden), dtype=dtype),
        }
        torch.save(features, given.directory / f"{name}.ckpt")


if __name__ == "__main__":
    main()
