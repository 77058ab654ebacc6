"""The draft vocabulary: the most frequent trained tokens, and the two maps between it and the target's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.files.plain import read_text


@dataclass(frozen=True)
class Vocabulary:
    """`d2t` int64 [Vd]: target id minus draft id. `t2d` bool [V]: is this target id in the draft vocabulary."""

    d2t: Tensor
    t2d: Tensor

    @property
    def ids(self) -> Tensor:
        """Target ids of the draft vocabulary, int64 [Vd], ascending."""
        return self.d2t + torch.arange(self.d2t.numel())

    def check(self, file: str | None = None) -> Vocabulary:
        """Returns itself if both maps agree and the ids ascend, else raises CHECKPOINT_INVALID."""
        if torch.equal(self.t2d.nonzero().flatten(), self.ids):
            return self
        raise BridgeError(
            "CHECKPOINT_INVALID",
            "The two vocabulary maps contradict each other.",
            file=file,
            field="d2t, t2d",
            found=f"{self.d2t.numel()} draft ids, {int(self.t2d.sum())} target ids marked",
            fix="choose another checkpoint; these two are not of one draft",
        )


def sum_counts(files: Sequence[Path], vocab_size: int) -> list[tuple[int, int]]:
    """`read_counts` of several files, each token once, with the sum of its counts."""
    total: Counter[int] = Counter()
    for file in files:
        for token, count in read_counts(file, vocab_size):
            total[token] += count
    return list(total.items())


def read_counts(file: Path, vocab_size: int) -> list[tuple[int, int]]:
    """`[token id, count]` lines of `token-counts.ndjson`. MANIFEST_INVALID names the line that is not one."""
    pairs: list[tuple[int, int]] = []
    try:
        lines = read_text(file).splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise BridgeError(
            "MANIFEST_INVALID", "The token counts cannot be read.", file=str(file), found=str(exc), fix="produce again"
        ) from exc
    for number, line in enumerate(lines, 1):
        try:
            token, count = (int(value) for value in json.loads(line))
        except (ValueError, TypeError) as exc:
            raise _bad_line(file, number, line) from exc
        if not 0 <= token < vocab_size or count < 0:
            raise _bad_line(file, number, line)
        pairs.append((token, count))
    return pairs


def _bad_line(file: Path, number: int, line: str) -> BridgeError:
    return BridgeError(
        "MANIFEST_INVALID",
        "A line of the token counts is not a token of this target with its count.",
        file=str(file),
        field=f"line {number}",
        found=line[:80],
        fix="produce the features again with the target that the draft is for",
    )


def choose_vocabulary(counts: Sequence[tuple[int, int]], draft_size: int, vocab_size: int) -> Vocabulary:
    """The `draft_size` most frequent ids, ties to the lower id, filled up with unseen ids from 0 upward."""
    seen = {token for token, count in counts if count > 0}
    ranked = [token for token, _ in sorted(((t, c) for t, c in counts if c > 0), key=lambda pair: (-pair[1], pair[0]))]
    unseen = (token for token in range(vocab_size) if token not in seen)
    chosen = ranked[:draft_size]
    while len(chosen) < draft_size:
        chosen.append(next(unseen))
    ids = torch.tensor(sorted(chosen), dtype=torch.int64)
    t2d = torch.zeros(vocab_size, dtype=torch.bool)
    t2d[ids] = True
    return Vocabulary(ids - torch.arange(draft_size), t2d).check()
