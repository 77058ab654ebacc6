"""Loss and accuracy of a draft on samples that it does not train on."""

from __future__ import annotations

import torch
from torch import Tensor

from draftbridge.distributed.shared_draft import SharedDraft
from draftbridge.distributed.world import World
from draftbridge.drafts.draft_trainer import DraftTrainer
from draftbridge.drafts.step_sums import StepSums
from draftbridge.training.staging import Staged
from draftbridge.training.train_metrics import ratio

# Sums over a batch, [K] each: the fields of StepSums, and the denominators of the accuracy.
_SUMS = 6


class Validation:
    """Sums over batches. It reads the draft and changes nothing of the training: no gradient, no moment, no random
    number, no metric. Each sum is divided once, over all samples, so neither the number of ranks nor the batches
    matter."""

    def __init__(self, world: World, draft: SharedDraft, trainer: DraftTrainer) -> None:
        self._world, self._draft, self._trainer = world, draft, trainer
        self._reset()

    def _reset(self) -> None:
        self._sums = torch.zeros(_SUMS, self._trainer.draft_positions, dtype=torch.float64, device=self._world.device)
        self._counts = [0, 0, 0]

    def add(self, staged: Staged) -> None:
        """One batch of this rank, which may be empty. A collective."""
        rows = staged.take()
        sums = self._trainer.evaluate(self._draft, rows)
        masked = torch.tensor(rows.plan.mask_sums, dtype=torch.float64)
        parts = [part.double() for part in sums]
        self._sums += torch.stack((*parts, masked.to(self._world.device, non_blocking=True)))
        self._counts = [
            old + new
            for old, new in zip(self._counts, (staged.samples, staged.tokens, staged.loss_tokens), strict=True)
        ]

    def read(self) -> dict[str, object]:
        """Over all batches of all ranks since the last read, in the wire form of Validated in src/bridge/report-ops.ts.
        A collective."""
        counts = torch.tensor(self._counts, dtype=torch.float64, device=self._world.device)
        joined = self._world.sum(torch.cat((self._sums.flatten(), counts))).cpu()
        self._reset()
        *parts, masked = joined[:-3].view(_SUMS, -1).unbind(0)
        samples, tokens, loss_tokens = (int(count) for count in joined[-3:])
        sums = StepSums(*parts)
        losses = self._trainer.losses(sums, max(1, tokens), sums.trained, sums.overlap)
        any_read = min(1, samples)
        return {
            "samples": samples,
            "tokens": tokens,
            "lossTokens": loss_tokens,
            "loss": ratio(float(self._trainer.total(losses)), any_read),
            "ploss": [ratio(value, any_read) for value in losses.tolist()],
            "acc": _ratios(sums.hits, masked),
            "acceptanceRate": _ratios(sums.overlap, sums.trained),
        }


def _ratios(numerators: Tensor, denominators: Tensor) -> list[float | None]:
    return [ratio(*pair) for pair in zip(numerators.tolist(), denominators.tolist(), strict=True)]
