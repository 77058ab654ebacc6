"""One rank's part in training a draft: forward, loss, backward, and at window ends the optimiser step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from draftbridge.batch import Batch
from draftbridge.eagle3.draft import DraftConfig
from draftbridge.eagle3.row_plan import RowPlan, plan_rows
from draftbridge.eagle3.teacher import Teacher
from draftbridge.eagle3.ttt_loss import StepSums, TttOptions, decayed, ploss_shares, unroll
from draftbridge.eagle3.vocabulary import Vocabulary
from draftbridge.errors import BridgeError
from draftbridge.optimizer import Optimizer, OptimizerOptions, rate
from draftbridge.parallel import SharedDraft, World
from draftbridge.train_metrics import HostCounts, TrainMetrics


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


@dataclass(frozen=True)
class StepReport:
    stepped: bool
    stop: bool
    global_step: int
    lost: int = 0


class TrainSession:
    """Every method that ends in a collective says so: all ranks call it, in the same order."""

    def __init__(
        self, world: World, draft: SharedDraft, frozen: Frozen, ttt: TttOptions, options: OptimizerOptions
    ) -> None:
        self.world, self.draft, self.frozen = world, draft, frozen
        self.ttt, self.options = ttt, options
        self.optimizer = Optimizer(draft.shards, options)
        self.global_step = 0
        self._metrics = TrainMetrics(ttt.steps, world)
        self._window_loss = torch.zeros((), dtype=torch.float64, device=world.device)

    def step(self, batch: Batch, micro: MicroStep) -> StepReport:
        """One micro-step, a collective. FEATURE_INVALID at a boundary, on all ranks, if the loss is not finite."""
        self.add_gradients(batch, micro)
        if not micro.boundary:
            return StepReport(False, False, self.global_step)
        stop, lost = self._advance(micro)
        return StepReport(True, stop, self.global_step, lost)

    def add_gradients(self, batch: Batch, micro: MicroStep) -> tuple[Tensor, StepSums]:
        """Forward and backward. Returns this rank's shares [K] of the per-step losses and its sums. A collective."""
        plan = plan_rows(batch.loss_mask, batch.lengths, self.ttt.steps, self.ttt.mask_offset)
        sums = self._forward(batch, plan)
        trained, overlap = self._totals(sums)
        shares = ploss_shares(sums, self.ttt, micro.positions, trained, overlap) / micro.window
        loss = decayed(shares, self.ttt.decay)
        self.draft.backward(loss, micro.boundary)
        shares, loss = shares.detach(), loss.detach()
        self._window_loss += loss
        self._metrics.add(loss, shares, sums, HostCounts(plan.mask_sums, sum(batch.lengths), batch.loss_tokens))
        return shares, sums

    def _forward(self, batch: Batch, plan: RowPlan) -> StepSums:
        device = self.world.device
        hidden = batch.hidden_state[plan.targets].to(device, non_blocking=True)
        ids, aux = (t.to(device, non_blocking=True) for t in (batch.input_ids, batch.aux))
        moved = plan.to(device)
        targets = self.frozen.teacher(hidden)
        return self.draft.run(lambda draft: unroll(draft, self.frozen.embedding, ids, aux, moved, targets))

    def _totals(self, sums: StepSums) -> tuple[Tensor, Tensor]:
        """`trained` and `overlap` over all ranks, where the loss asks for them."""
        own = torch.stack((sums.trained.to(sums.overlap.dtype), sums.overlap.detach()))
        trained, overlap = self.world.sum(own) if self.ttt.needs_totals else own
        return trained, overlap

    def _advance(self, micro: MicroStep) -> tuple[bool, int]:
        """Clip and step. Norm, loss, stop flag and lost samples travel in one reduction: the step's one wait."""
        gradients = self.draft.gradients()
        norms = torch._foreach_norm([g for g in gradients.values() if g.numel() > 0])
        squares = torch.stack([norm.double() for norm in norms]).square().sum() if norms else self._window_loss * 0
        stop, lost = (torch.full_like(squares, float(value)) for value in (micro.stop, micro.lost))
        told = self.world.sum(torch.stack((self.draft.square_share(squares), stop, lost, self._window_loss)))
        square, stops, missing, loss = told.tolist()
        self._window_loss.zero_()
        if not (math.isfinite(square) and math.isfinite(loss)):
            self.draft.clear()
            raise self._not_finite(loss, square)
        norm = math.sqrt(square)
        self.optimizer.step(gradients, norm, self.global_step)
        self.draft.clear()
        self.global_step += 1
        self._metrics.stepped(norm)
        return bool(stops > 0), int(missing)

    def _not_finite(self, loss: float, square: float) -> BridgeError:
        return BridgeError(
            "FEATURE_INVALID",
            f"The loss became non-finite at optimiser step {self.global_step + 1}.",
            field="loss",
            found=f"loss {loss}, squared gradient norm {square}",
            fix="look for NaN in the features of this step, or lower train.optimizer.lr; the last checkpoint is good",
        )

    def read_metrics(self) -> dict[str, object]:
        """Metrics since the last read. A collective."""
        return self._metrics.read(rate(self.options, max(0, self.global_step - 1)))
