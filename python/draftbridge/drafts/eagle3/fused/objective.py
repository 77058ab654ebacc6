"""The weight of each row's loss, known during the unroll: logits turn into gradients at once and need not be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.drafts.step_sums import StepSums
from draftbridge.settings.train_settings import TttSettings


@dataclass(frozen=True)
class Objective:
    """`positions`: of the micro-step over all ranks. `scale`: a factor of all gradients. `sum_ranks` sums a tensor over
    all ranks, in place: a collective, which all ranks call in the same order."""

    options: TttSettings
    positions: int
    scale: float
    sum_ranks: Callable[[Tensor], Tensor]

    def totals(self, trained: Tensor) -> Tensor:
        """bool [K,n] -> fp64 [K]: trained rows of all ranks if the loss needs them, else of this rank."""
        counts = trained.sum(1).double()
        return self.sum_ranks(counts) if self.options.needs_totals else counts

    @property
    def known_before_logits(self) -> bool:
        """Are the weights of rows known before their logits."""
        return self.options.loss == "ce"

    def weights(self, k: int, total: Tensor, stats: Tensor) -> tuple[Tensor, Tensor | None]:
        """[n] gradients of the loss by each row's cross entropy and overlap at step k. `stats` [3,n] as in EntropyRows,
        `total`: entry k of `totals`."""
        options = self.options
        scale = options.decay**k * self.scale
        rows = total.clamp(min=1).to(stats.dtype)
        by_position = torch.full_like(rows, float(self.positions)) if options.reduction == "all" else rows
        ones = torch.ones_like(stats[0])
        if options.loss == "ce":
            return ones * (scale / by_position), None
        overlap = stats[1]
        if options.loss == "lk-alpha":
            safe = torch.where(overlap > 0, overlap, 1.0)
            return torch.zeros_like(ones), torch.where(overlap > 0, -scale / (safe * rows), 0.0)
        mean = self.sum_ranks(overlap.sum().double()).to(stats.dtype) / rows
        weight = options.kl_scale * torch.exp(-options.kl_decay * mean)
        return ones * (scale * weight / by_position), ones * (-scale * (1 - weight) / rows)


def step_sums(stats: Tensor, trained: Tensor) -> StepSums:
    """stats [K,3,n], trained bool [K,n] -> sums over the rows, without gradients."""
    entropy, overlap, hits = stats.unbind(1)
    logs = torch.log(torch.where(overlap > 0, overlap, 1.0))
    return StepSums(entropy.sum(1), overlap.sum(1), logs.sum(1), trained.sum(1), hits.sum(1))
