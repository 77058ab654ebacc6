"""The rows of a batch that the fused unroll computes: the same rows at all steps, so its buffers have one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.flops import Work
from draftbridge.drafts.eagle3.row_plan import target_positions
from draftbridge.drafts.loss_mask import effective_mask

# Leaving out a smaller share of the rows saves less time than gathering the others costs.
_MIN_SAVED_SHARE = 1 / 32


@dataclass(frozen=True)
class FusedPlan:
    """N rows of all samples, end to end; n of them are computed. Indices are int64, bounds int32.

    A row that has a loss at some step is computed at all steps: K - 1 rows too many for each run of such rows, but
    nothing is gathered between steps.
    """

    rows: Tensor | None  # [n] which of the N rows are computed; None: all of them
    positions: Tensor  # [n] their positions within their samples
    every_position: Tensor  # [N]
    first_tokens: Tensor  # [N] index of each row's input token at step 0; N stands for token 0
    tokens: Tensor  # [K,n] the same for the computed rows at every step
    wanted: Tensor  # [R] rows whose target distribution is needed
    targets: Tensor  # [K,n] index into `wanted`, -1: this row has no loss at this step
    bounds: Tensor  # [samples + 1] where each sample begins
    longest: int
    mask_sums: tuple[int, ...]  # K denominators of the accuracy

    def __len__(self) -> int:
        return self.positions.numel()

    @property
    def total(self) -> int:
        return self.every_position.numel()

    def work(self) -> Work:
        """Row counts. Call it while the plan is on the CPU."""
        steps, n = self.tokens.shape[0], len(self)
        pairs = int((self.positions + 1).sum())
        return Work(self.total, (n,) * steps, (n,) * steps, self.wanted.numel(), (pairs,) * steps)

    def to(self, device: torch.device) -> FusedPlan:
        """A copy on the device. Asynchronous if this plan is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> FusedPlan:
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> FusedPlan:
        changed: dict[str, Any] = {
            name: change(value) if isinstance(value, Tensor) else value for name, value in vars(self).items()
        }
        return FusedPlan(**changed)


def plan_fused(
    loss_mask: Tensor, lengths: Sequence[int], steps: int, offset: int = 0, compact: bool = True
) -> FusedPlan:
    """`loss_mask` [N] of samples of the given lengths. `compact` leaves out rows that no loss depends on."""
    mask = effective_mask(loss_mask, lengths)
    sizes = torch.tensor(lengths, dtype=torch.int64)
    bounds = torch.cat((sizes.new_zeros(1), sizes.cumsum(0)))
    size = sizes.repeat_interleave(sizes)
    total = mask.numel()
    every = torch.arange(total)
    positions = every - bounds[:-1].repeat_interleave(sizes)
    wanted = target_positions(mask, positions, size, offset).nonzero().flatten()
    order = torch.full((total + steps + 1,), -1)
    order[wanted] = torch.arange(wanted.numel())
    ahead = every[None] + torch.arange(1, steps + 1)[:, None]
    inside = ahead < (bounds[1:].repeat_interleave(sizes))[None]
    targets = torch.where(inside, order[ahead], -1)
    tokens = torch.where(inside, ahead, total)
    live = (targets >= 0).any(0)
    worth = compact and int(live.sum()) <= (1 - _MIN_SAVED_SHARE) * total
    rows = live.nonzero().flatten() if worth else None
    if rows is not None:
        targets, tokens = targets[:, rows], tokens[:, rows]
    sums = tuple(int((mask & (positions >= k + offset)).sum()) for k in range(steps))
    first = torch.where(inside[0], every + 1, total)
    computed = positions if rows is None else positions[rows]
    longest = max(lengths, default=0)
    return FusedPlan(rows, computed, positions, first, tokens, wanted, targets, bounds.int(), longest, sums)
