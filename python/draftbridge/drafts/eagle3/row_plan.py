"""Which rows of a batch take part in which step of the unroll. Computed on the CPU, so no step waits for the device.

Samples lie one after another without padding; a row is a position in this sequence. Target position j (within its
sample) trains row t at step k when j = t + k + 1 and the mask entry j - 1 + offset is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.flops import Work
from draftbridge.drafts.loss_mask import effective_mask

# Query rows of one attention piece. Its scores are [heads, QUERY_ROWS, keys]: memory grows with T, not with T * T.
QUERY_ROWS = 512


@dataclass(frozen=True)
class Piece:
    """Rows [lo, hi) of a step, all of one sample, and the step-0 keys [key_lo, key_hi) that they attend to."""

    lo: int
    hi: int
    key_lo: int
    key_hi: int


@dataclass(frozen=True)
class StepRows:
    """The rows of one step, as int64 indices. `keep` counts rows of the step before, `live` rows of this one."""

    rows: Tensor  # [n] rows that are computed
    positions: Tensor  # [n] their positions within their samples
    tokens: Tensor  # [n] index of each row's input token; N, one past the end, stands for token 0
    keep: Tensor | None  # [n] indices of these rows among the rows of the step before; None at step 0 or if all stay
    live: Tensor  # [l] indices of the rows with a loss
    targets: Tensor  # [l] for each of `live`: its row in the teacher's output
    pieces: tuple[Piece, ...]

    def to(self, device: torch.device) -> StepRows:
        if device.type == "cpu":
            return self
        copies = (None if t is None else t.to(device, non_blocking=True) for t in self._indices())
        rows, positions, tokens, keep, live, targets = copies
        assert rows is not None and positions is not None and tokens is not None
        assert live is not None and targets is not None
        return StepRows(rows, positions, tokens, keep, live, targets, self.pieces)

    def _indices(self) -> tuple[Tensor | None, ...]:
        return self.rows, self.positions, self.tokens, self.keep, self.live, self.targets


@dataclass(frozen=True)
class RowPlan:
    """`targets` int64 [R]: rows whose target distribution is needed. `mask_sums`: K denominators of the accuracy."""

    targets: Tensor
    steps: tuple[StepRows, ...]
    mask_sums: tuple[int, ...]
    positions: Tensor  # [N] positions of all rows within their samples
    tokens: Tensor  # [N] index of each row's input token at step 0

    @property
    def wanted(self) -> Tensor:
        return self.targets

    def work(self) -> Work:
        """Row counts. Call it while the plan is on the CPU."""
        return Work(
            rows=self.positions.numel(),
            computed=tuple(step.rows.numel() for step in self.steps),
            with_logits=tuple(step.live.numel() for step in self.steps),
            wanted=self.targets.numel(),
            pairs=tuple(int((step.positions + 1).sum()) for step in self.steps),
        )

    def to(self, device: torch.device) -> RowPlan:
        index = (t.to(device, non_blocking=True) for t in (self.targets, self.positions, self.tokens))
        targets, positions, tokens = index
        return RowPlan(targets, tuple(step.to(device) for step in self.steps), self.mask_sums, positions, tokens)


def plan_rows(loss_mask: Tensor, lengths: Sequence[int], steps: int, offset: int = 0, compact: bool = True) -> RowPlan:
    """`loss_mask` [N] of samples of the given lengths. `compact` leaves out rows that no loss depends on."""
    mask = effective_mask(loss_mask, lengths)
    sizes = torch.tensor(lengths, dtype=torch.int64)
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    size = sizes.repeat_interleave(sizes)
    total = mask.numel()
    every = torch.arange(total)
    positions = every - starts
    guard = target_positions(mask, positions, size, offset)
    targets = guard.nonzero().flatten()
    order = torch.full((total,), -1)
    order[targets] = torch.arange(targets.numel())
    live = torch.zeros(steps, total, dtype=torch.bool)
    for k in range(steps):
        rows = targets[positions[targets] > k] - k - 1
        live[k, rows] = True
    planned = []
    previous: Tensor | None = None
    for k in range(steps):
        rows = live[k:].any(0).nonzero().flatten() if compact else every
        fed = torch.where(positions[rows] + k + 1 < size[rows], rows + k + 1, total)
        trained = live[k][rows].nonzero().flatten()
        same = previous is None or previous.numel() == rows.numel()
        keep = None if same or previous is None else torch.searchsorted(previous, rows)
        reached = order[rows[trained] + k + 1]
        pieces = _pieces(rows, lengths)
        planned.append(StepRows(rows, positions[rows], fed, keep, trained, reached, pieces))
        previous = rows
    sums = tuple(int((mask & (positions >= k + offset)).sum()) for k in range(steps))
    fed = torch.where(positions + 1 < size, every + 1, total)
    return RowPlan(targets, tuple(planned), sums, positions, fed)


def target_positions(mask: Tensor, positions: Tensor, size: Tensor, offset: int) -> Tensor:
    """bool [N]: whether a position can be a target. Its mask entry lies offset - 1 positions later."""
    shift = offset - 1
    inside = (positions + shift >= 0) & (positions + shift < size) & (positions >= 1)
    return inside & torch.roll(mask, -shift)


def _pieces(rows: Tensor, lengths: Sequence[int]) -> tuple[Piece, ...]:
    pieces = []
    start = 0
    for length in lengths:
        lo, hi = torch.searchsorted(rows, torch.tensor([start, start + length])).tolist()
        for at in range(lo, hi, QUERY_ROWS):
            end = min(at + QUERY_ROWS, hi)
            pieces.append(Piece(at, end, start, int(rows[end - 1]) + 1))
        start += length
    return tuple(pieces)
