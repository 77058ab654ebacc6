"""What the fused unroll computes of a batch: one set of rows for all steps, so that its buffers have one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.flops import Work
from draftbridge.drafts.eagle3.row_plan import effective_mask, guarded

# Leaving out fewer rows than this share saves less than moving the others together costs.
_WORTH = 1 / 32


@dataclass(frozen=True)
class FusedPlan:
    """N rows of all samples, one after another; n of them lead to a loss. Indices are int64, bounds int32.

    A row that is live at some step is computed at all of them: that is K - 1 rows too many for each stretch of live
    rows, and buys that nothing is gathered between steps.
    """

    rows: Tensor | None  # [n] which of the N rows are computed; None: all of them
    positions: Tensor  # [n] their positions within their samples
    every_position: Tensor  # [N]
    first_tokens: Tensor  # [N] index of the token that each row is fed at step 0; N stands for token 0
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
        """Of a plan that lies on the CPU."""
        steps, n = self.tokens.shape[0], len(self)
        pairs = int((self.positions + 1).sum())
        return Work(self.total, (n,) * steps, (n,) * steps, self.wanted.numel(), (pairs,) * steps)

    def to(self, device: torch.device) -> FusedPlan:
        """Copies that do not wait, if this plan is pinned."""
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
    """`loss_mask` [N] of samples of the given lengths. `compact` leaves rows out that no loss depends on."""
    mask = effective_mask(loss_mask, lengths)
    sizes = torch.tensor(lengths, dtype=torch.int64)
    bounds = torch.cat((sizes.new_zeros(1), sizes.cumsum(0)))
    size = sizes.repeat_interleave(sizes)
    total = mask.numel()
    every = torch.arange(total)
    positions = every - bounds[:-1].repeat_interleave(sizes)
    wanted = guarded(mask, positions, size, offset).nonzero().flatten()
    order = torch.full((total + steps + 1,), -1)
    order[wanted] = torch.arange(wanted.numel())
    ahead = every[None] + torch.arange(1, steps + 1)[:, None]
    inside = ahead < (bounds[1:].repeat_interleave(sizes))[None]
    targets = torch.where(inside, order[ahead], -1)
    tokens = torch.where(inside, ahead, total)
    live = (targets >= 0).any(0)
    worth = compact and int(live.sum()) <= (1 - _WORTH) * total
    rows = live.nonzero().flatten() if worth else None
    if rows is not None:
        targets, tokens = targets[:, rows], tokens[:, rows]
    sums = tuple(int((mask & (positions >= k + offset)).sum()) for k in range(steps))
    first = torch.where(inside[0], every + 1, total)
    mine = positions if rows is None else positions[rows]
    longest = max(lengths, default=0)
    return FusedPlan(rows, mine, positions, first, tokens, wanted, targets, bounds.int(), longest, sums)
