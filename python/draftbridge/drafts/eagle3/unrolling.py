"""The two ways to run the unroll and get its gradients: plain, through autograd, and fused, with kernels of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from draftbridge.distributed.shared_draft import ReplicatedDraft, SharedDraft
from draftbridge.distributed.world import World
from draftbridge.drafts.draft_description import DraftDescription
from draftbridge.drafts.draft_trainer import DraftTrainer, LossScale, Plan, Rows
from draftbridge.drafts.eagle3.draft import Draft
from draftbridge.drafts.eagle3.flops import unroll_flops
from draftbridge.drafts.eagle3.frozen import Frozen
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.objective import Objective
from draftbridge.drafts.eagle3.fused.plan import FusedPlan, plan_fused
from draftbridge.drafts.eagle3.fused.trace import Inputs
from draftbridge.drafts.eagle3.fused.unroll import fused_sums, fused_unroll
from draftbridge.drafts.eagle3.row_kernel_choice import row_kernels
from draftbridge.drafts.eagle3.row_plan import RowPlan, plan_rows
from draftbridge.drafts.eagle3.ttt_loss import decayed, ploss_shares, unroll
from draftbridge.drafts.step_sums import StepSums
from draftbridge.settings.train_settings import TrainSettings

_HIDDEN, _AUX = "hidden_state", "aux_hidden_state"


class Unrolling(DraftTrainer):
    """What both ways have in common."""

    def __init__(self, world: World, settings: TrainSettings, frozen: Frozen, description: DraftDescription) -> None:
        self._world, self._settings, self._ttt = world, settings, settings.ttt
        self._frozen, self._embedding, self._teacher = frozen, frozen.embedding, frozen.teacher
        self.description = description
        self.dtype = frozen.embedding.dtype
        self.uses_summary = settings.stored_teacher
        self.draft_positions = settings.ttt.steps

    @property
    def frozen_tensors(self) -> tuple[Tensor, ...]:
        return self._embedding, *self._teacher.tensors

    def losses(self, sums: StepSums, positions: int, trained: Tensor, overlap: Tensor) -> Tensor:
        return ploss_shares(sums, self._ttt, positions, trained, overlap)

    def total(self, losses: Tensor) -> Tensor:
        return decayed(losses, self._ttt.decay)

    def flops(self, plan: Plan, has_summary: bool) -> float:
        assert isinstance(plan, RowPlan | FusedPlan)
        return unroll_flops(self._frozen.config, plan.work(), stored_teacher=has_summary)

    def plan_tensors(self, plan: Plan) -> list[Tensor]:
        parts = (plan, *plan.steps) if isinstance(plan, RowPlan) else (plan,)
        return [value for part in parts for value in vars(part).values() if isinstance(value, Tensor)]

    def _shares(self, sums: StepSums, scale: LossScale) -> Tensor:
        trained, overlap = self._totals(sums)
        return self.losses(sums, scale.positions, trained, overlap) / scale.window

    def _totals(self, sums: StepSums) -> tuple[Tensor, Tensor]:
        """`trained` and `overlap` over all ranks, where the loss asks for them."""
        own = torch.stack((sums.trained.to(sums.overlap.dtype), sums.overlap.detach()))
        trained, overlap = self._world.sum(own) if self._ttt.needs_totals else own
        return trained, overlap


class PlainUnrolling(Unrolling):
    """Any device and dtype. What the fused one is compared with."""

    def plan(self, loss_mask: Tensor, lengths: Sequence[int]) -> RowPlan:
        return plan_rows(loss_mask, lengths, self._ttt.steps, self._ttt.mask_offset, self._settings.compact)

    def to_device(self, plan: Plan) -> RowPlan:
        assert isinstance(plan, RowPlan)
        return plan.to(self._world.device)

    def add_gradients(
        self, draft: SharedDraft, rows: Rows, scale: LossScale, boundary: bool
    ) -> tuple[Tensor, StepSums]:
        work = self._work(rows)
        with self._half(draft):
            sums = draft.run(work)
        shares = self._shares(sums, scale)
        draft.backward(self.total(shares) * draft.scale, boundary)
        return shares.detach(), sums

    def evaluate(self, draft: SharedDraft, rows: Rows) -> StepSums:
        work = self._work(rows)
        with self._half(draft):
            return draft.run_no_grad(work)

    def _work(self, rows: Rows) -> Callable[[Draft], StepSums]:
        plan = rows.plan
        assert isinstance(plan, RowPlan)
        targets = self._teacher(rows.states[_HIDDEN], rows.summary)
        return lambda whole: unroll(whole, self._embedding, rows.ids, rows.states[_AUX], plan, targets)

    def _half(self, draft: SharedDraft) -> torch.autocast | nullcontext[None]:
        """A replicated draft has fp32 weights only; a sharded one is gathered in half precision."""
        if self._embedding.dtype == torch.bfloat16 and isinstance(draft, ReplicatedDraft):
            return torch.autocast(self._world.device.type, dtype=torch.bfloat16)
        return nullcontext()


class FusedUnrolling(Unrolling):
    """One backward pass by hand. One micro-step at a time: its buffers are one micro-step's."""

    def __init__(self, world: World, settings: TrainSettings, frozen: Frozen, description: DraftDescription) -> None:
        super().__init__(world, settings, frozen, description)
        self.buffers = Buffers(world.device)
        self._kernels = row_kernels(world.device, self.dtype)

    @property
    def buffer_bytes(self) -> int:
        return self.buffers.bytes

    def plan(self, loss_mask: Tensor, lengths: Sequence[int]) -> FusedPlan:
        found = plan_fused(loss_mask, lengths, self._ttt.steps, self._ttt.mask_offset, self._settings.compact)
        return found.pinned() if self._world.device.type == "cuda" else found

    def to_device(self, plan: Plan) -> FusedPlan:
        assert isinstance(plan, FusedPlan)
        return plan.to(self._world.device)

    def add_gradients(
        self, draft: SharedDraft, rows: Rows, scale: LossScale, boundary: bool
    ) -> tuple[Tensor, StepSums]:
        inputs = self._inputs(rows)
        objective = Objective(self._ttt, scale.positions, draft.scale / scale.window, self._world.sum)
        loss, *found = draft.run(lambda whole: fused_unroll(whole, inputs, objective, self._kernels, self.buffers))
        draft.backward(loss, boundary)
        sums = StepSums(*found)
        return self._shares(sums, scale), sums

    def evaluate(self, draft: SharedDraft, rows: Rows) -> StepSums:
        inputs = self._inputs(rows)
        return StepSums(*draft.run_no_grad(lambda whole: fused_sums(whole, inputs, self._kernels, self.buffers)))

    def _inputs(self, rows: Rows) -> Inputs:
        assert isinstance(rows.plan, FusedPlan)
        teacher = self._teacher.logits(rows.states[_HIDDEN], rows.summary)
        return Inputs(self._embedding, rows.ids, rows.states[_AUX], rows.plan, teacher, self._settings.recompute)
