"""Writes a randomly initialised draft for the target of make_tiny_target.py, over the first half of its vocabulary.

python test/support/make_tiny_draft.py DIR [--hidden 32]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from draftbridge.drafts.draft_files import save_draft
from draftbridge.drafts.eagle3.draft import DraftConfig, initial_draft
from draftbridge.drafts.eagle3.eagle3 import Eagle3
from draftbridge.drafts.vocabulary import Vocabulary
from make_tiny_target import VOCAB_SIZE


def make_tiny_draft(directory: Path, *, hidden: int = 32) -> None:
    half = VOCAB_SIZE // 2
    config = DraftConfig(
        hidden, 2 * hidden, 4, 2, hidden // 4, VOCAB_SIZE, half, 1e-5, 10000.0, 512
    )
    weights = dict(initial_draft(config, seed=4).named_parameters())
    directory.mkdir(parents=True, exist_ok=True)
    vocabulary = Vocabulary(
        torch.zeros(half, dtype=torch.int64), torch.arange(VOCAB_SIZE) < half
    )
    save_draft(directory, Eagle3().describe(config, {}, vocabulary), weights)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--hidden", type=int, default=32)
    given = parser.parse_args()
    make_tiny_draft(given.directory, hidden=given.hidden)


if __name__ == "__main__":
    main()
