"""One rank's part in training a draft: forward, loss, backward, and at window ends the optimiser step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.distributed.shared_draft import SharedDraft
from draftbridge.distributed.world import World
from draftbridge.drafts.draft_trainer import DraftTrainer, LossScale
from draftbridge.drafts.step_sums import StepSums
from draftbridge.settings.train_settings import OptimizerSettings
from draftbridge.training.batch import Batch, FeatureLayout
from draftbridge.training.optimizer import Optimizer, rate
from draftbridge.training.snapshot import Snapshot, Snapshots
from draftbridge.training.staging import Staged, Staging
from draftbridge.training.step_watch import StepWatch, WatchedStep
from draftbridge.training.train_metrics import HostCounts, TrainMetrics
from draftbridge.training.validation import Validation


@dataclass(frozen=True)
class MicroStep:
    """The plan's numbers for a micro-step; `train.step` in src/bridge/train-ops.ts explains them."""

    positions: int
    window: int
    boundary: bool
    stop: bool
    lost: int = 0
    saved: int = 0


@dataclass(frozen=True)
class StepReport:
    stepped: bool
    stop: bool
    global_step: int
    lost: int = 0
    saved: int = 0
    watched: Sequence[WatchedStep] = ()
    """Steps whose numbers have reached the host since the last report."""


class TrainSession:
    """One rank's training. A method that is a collective says so: all ranks call those, in the same order."""

    def __init__(
        self,
        world: World,
        draft: SharedDraft,
        trainer: DraftTrainer,
        layout: FeatureLayout,
        optimizer: OptimizerSettings,
        total_steps: int,
    ) -> None:
        self.world, self.draft, self.trainer = world, draft, trainer
        self._schedule = optimizer, total_steps
        self.optimizer = Optimizer(draft.shards, optimizer, total_steps)
        self.global_step = 0
        self.gradient_bytes = 0
        """Of the last step."""
        self.staging = Staging(world.device, trainer, layout)
        self.validation = Validation(world, draft, trainer)
        self._metrics = TrainMetrics(trainer.draft_positions, world)
        self._watch = StepWatch(world.device)
        self._is_this_rank = torch.arange(world.size, device=world.device) == world.rank
        self._window_loss = torch.zeros((), dtype=torch.float64, device=world.device)
        self._broken = torch.zeros((), dtype=torch.bool, device=world.device)
        self._snapshots = Snapshots(world, draft, trainer.description)

    def step(self, batch: Batch | Staged, micro: MicroStep) -> StepReport:
        """One micro-step, a collective. FEATURE_INVALID on all ranks, at this boundary or a later one, if the loss of a
        step was not finite: that step and none before it changed nothing."""
        self.add_gradients(batch, micro)
        if not micro.boundary:
            return StepReport(False, False, self.global_step)
        self._advance()
        stop, lost, saved = self.world.all_sum(float(micro.stop), float(micro.lost), float(micro.saved))
        return StepReport(True, stop > 0, self.global_step, int(lost), int(saved), self._watch.seen())

    def add_gradients(self, batch: Batch | Staged, micro: MicroStep) -> tuple[Tensor, StepSums]:
        """Forward and backward. Returns this rank's shares [K] of the per-step losses and its sums. A collective."""
        staged = batch if isinstance(batch, Staged) else self.staging.of(batch)
        rows = staged.take()
        scale = LossScale(micro.positions, micro.window)
        shares, sums = self.trainer.add_gradients(self.draft, rows, scale, micro.boundary)
        loss = self.trainer.total(shares)
        self._window_loss += loss
        counts = HostCounts(rows.plan.mask_sums, staged.tokens, staged.loss_tokens, staged.flops)
        self._metrics.add(loss, shares, sums, counts)
        return shares, sums

    def _advance(self) -> None:
        """Clip and step. The host reads the loss and the norm later, once the device has computed them."""
        gradients = self.draft.gradients()
        self.gradient_bytes = sum(g.numel() * g.element_size() for g in gradients.values())
        norms = torch._foreach_norm([g for g in gradients.values() if g.numel() > 0])
        squares = torch.stack([norm.double() for norm in norms]).square().sum() if norms else self._window_loss * 0
        # Each rank's own part is sent too, so that a loss that is not finite can be traced to its rank.
        parts = torch.where(self._is_this_rank, self._window_loss, 0.0)
        own = torch.stack((self.draft.square_share(squares), self._window_loss))
        summed = self.world.sum(torch.cat((own, parts)))
        norm, loss = summed[0].sqrt(), summed[1]
        broken = ~(torch.isfinite(norm) & torch.isfinite(loss))
        self._snapshots.wait_for_copy()
        self.optimizer.step(gradients, norm, broken, self.global_step)
        self._broken = self._broken | broken
        self.draft.clear()
        self._window_loss.zero_()
        self.global_step += 1
        self._metrics.stepped(norm)
        self._watch.stepped(self.global_step, norm, summed[1:])

    def snapshot(self) -> Snapshot | None:
        """The state to save, on rank 0, which writes it; None elsewhere. A collective. It does not wait for the
        device."""
        return self._snapshots.take(self.optimizer, self.global_step, self._broken)

    def settle(self) -> None:
        """Waits for the device. FEATURE_INVALID if the loss of a step was not finite."""
        self._watch.settle()

    def watched(self) -> list[WatchedStep]:
        """Steps whose numbers have reached the host since the last call."""
        return self._watch.seen()

    def read_metrics(self) -> dict[str, object]:
        """Metrics since the last read. A collective."""
        self.settle()
        return self._metrics.read(rate(*self._schedule, max(0, self.global_step - 1)))

    def close(self) -> None:
        self._snapshots.close()
