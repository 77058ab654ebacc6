"""One rank's part in training a draft: forward, loss, backward, and at window ends the optimiser step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from draftbridge.distributed.parallel import SharedDraft, World
from draftbridge.drafts.eagle3.draft import DraftConfig
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.drafts.eagle3.ttt_loss import StepSums, TttOptions, decayed
from draftbridge.drafts.eagle3.vocabulary import Vocabulary
from draftbridge.training.batch import Batch
from draftbridge.training.optimizer import Optimizer, OptimizerOptions, rate
from draftbridge.training.snapshot import Snapshot, Snapshots
from draftbridge.training.staging import Staged, Staging
from draftbridge.training.step_watch import StepWatch, WatchedStep
from draftbridge.training.train_metrics import HostCounts, TrainMetrics
from draftbridge.training.unrolling import FusedUnrolling, PlainUnrolling, Savings, Weighing
from draftbridge.training.validation import Validation


@dataclass(frozen=True)
class Frozen:
    """What training reads and never changes. It lies outside the shared draft: every rank has all of it."""

    embedding: Tensor  # [V, H] on the device
    teacher: Teacher
    vocabulary: Vocabulary
    config: DraftConfig
    raw_config: dict[str, Any]


@dataclass(frozen=True)
class MicroStep:
    """What the plan says of a micro-step; see `train.step` in src/bridge/ops.ts."""

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
    """Steps whose numbers the host has seen since it was last told."""


class TrainSession:
    """Every method that ends in a collective says so: all ranks call it, in the same order."""

    def __init__(
        self,
        world: World,
        draft: SharedDraft,
        frozen: Frozen,
        ttt: TttOptions,
        options: OptimizerOptions,
        savings: Savings | None = None,
    ) -> None:
        self.world, self.draft, self.frozen = world, draft, frozen
        self.ttt, self.options = ttt, options
        self.optimizer = Optimizer(draft.shards, options)
        self.global_step = 0
        self.gradient_bytes = 0
        """Of the last step."""
        chosen = savings or Savings()
        self.unrolling = (FusedUnrolling if chosen.fused else PlainUnrolling)(
            world, ttt, frozen.embedding, frozen.teacher, chosen
        )
        self.staging = Staging(world.device, frozen.embedding.dtype, frozen.config, self.unrolling)
        self.validation = Validation(world, draft, self.unrolling, ttt)
        self._metrics = TrainMetrics(ttt.steps, world)
        self._watch = StepWatch(world.device)
        self._mine = torch.arange(world.size, device=world.device) == world.rank
        self._window_loss = torch.zeros((), dtype=torch.float64, device=world.device)
        self._broken = torch.zeros((), dtype=torch.bool, device=world.device)
        self._snapshots = Snapshots(world, draft, frozen)

    def step(self, batch: Batch | Staged, micro: MicroStep) -> StepReport:
        """One micro-step, a collective. FEATURE_INVALID on all ranks, at this boundary or a later one, if the loss of a
        step was not finite: that step and none before it changed nothing."""
        self.add_gradients(batch, micro)
        if not micro.boundary:
            return StepReport(False, False, self.global_step)
        self._advance()
        stop, lost, saved = self.world.agree(float(micro.stop), float(micro.lost), float(micro.saved))
        return StepReport(True, stop > 0, self.global_step, int(lost), int(saved), self._watch.seen())

    def add_gradients(self, batch: Batch | Staged, micro: MicroStep) -> tuple[Tensor, StepSums]:
        """Forward and backward. Returns this rank's shares [K] of the per-step losses and its sums. A collective."""
        staged = batch if isinstance(batch, Staged) else self.staging.of(batch)
        rows = staged.take()
        weighing = Weighing(micro.positions, micro.window)
        shares, sums = self.unrolling.add_gradients(self.draft, rows, weighing, micro.boundary)
        loss = decayed(shares, self.ttt.decay)
        self._window_loss += loss
        counts = HostCounts(rows.plan.mask_sums, staged.tokens, staged.loss_tokens, staged.flops)
        self._metrics.add(loss, shares, sums, counts)
        return shares, sums

    def _advance(self) -> None:
        """Clip and step. What the host wants to know of it, it reads when the device has got there."""
        gradients = self.draft.gradients()
        self.gradient_bytes = sum(g.numel() * g.element_size() for g in gradients.values())
        norms = torch._foreach_norm([g for g in gradients.values() if g.numel() > 0])
        squares = torch.stack([norm.double() for norm in norms]).square().sum() if norms else self._window_loss * 0
        # Each rank's own part goes along, so that a loss that is not finite can be traced to where it began.
        parts = torch.where(self._mine, self._window_loss, 0.0)
        told = torch.stack((self.draft.square_share(squares), self._window_loss))
        told = self.world.sum(torch.cat((told, parts)))
        norm, loss = told[0].sqrt(), told[1]
        broken = ~(torch.isfinite(norm) & torch.isfinite(loss))
        self._snapshots.hold()
        self.optimizer.step(gradients, norm, broken, self.global_step)
        self._broken = self._broken | broken
        self.draft.clear()
        self._window_loss.zero_()
        self.global_step += 1
        self._metrics.stepped(norm)
        self._watch.stepped(self.global_step, norm, told[1:])

    def snapshot(self) -> Snapshot | None:
        """What there is to save, on the rank that writes; None elsewhere. A collective; none waits for its device."""
        return self._snapshots.take(self.optimizer, self.global_step, self._broken)

    def settle(self) -> None:
        """Waits for the device. FEATURE_INVALID if the loss of a step was not finite."""
        self._watch.settle()

    def watched(self) -> list[WatchedStep]:
        """Steps whose numbers the host has seen since it was last told."""
        return self._watch.seen()

    def read_metrics(self) -> dict[str, object]:
        """Metrics since the last read. A collective."""
        self.settle()
        return self._metrics.read(rate(self.options, max(0, self.global_step - 1)))

    def close(self) -> None:
        self._snapshots.close()
