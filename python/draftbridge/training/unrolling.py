"""The two ways to run the unroll and get its gradients: plain, through autograd, and fused, with kernels of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from draftbridge.device import kernel_builds
from draftbridge.distributed.parallel import ReplicatedDraft, SharedDraft, World
from draftbridge.drafts.eagle3.draft import Draft
from draftbridge.drafts.eagle3.flops import Work
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.kernels import torch_rows
from draftbridge.drafts.eagle3.fused.kernels.row_kernels import RowKernels
from draftbridge.drafts.eagle3.fused.objective import Objective
from draftbridge.drafts.eagle3.fused.plan import FusedPlan, plan_fused
from draftbridge.drafts.eagle3.fused.trace import Inputs
from draftbridge.drafts.eagle3.fused.unroll import fused_sums, fused_unroll
from draftbridge.drafts.eagle3.row_plan import RowPlan, plan_rows
from draftbridge.drafts.eagle3.teacher import Teacher, TeacherSummary
from draftbridge.drafts.eagle3.ttt_loss import StepSums, TttOptions, decayed, ploss_shares, unroll


class Plan(Protocol):
    """Which rows of a batch take part in what. Made on the CPU."""

    @property
    def wanted(self) -> Tensor:
        """[R] rows whose target distribution is needed."""
        ...

    @property
    def mask_sums(self) -> tuple[int, ...]: ...

    def work(self) -> Work:
        """While it lies on the CPU."""
        ...


@dataclass(frozen=True)
class Rows:
    """A batch on the device."""

    ids: Tensor  # int64 [N]
    aux: Tensor  # [N,3H]
    hidden: Tensor  # [R,H], of the plan's wanted rows
    plan: Plan
    summary: TeacherSummary | None  # of the plan's wanted rows


@dataclass(frozen=True)
class Weighing:
    """What the loss of a micro-step is divided by: `positions` over all ranks, and `window` micro-steps."""

    positions: int
    window: int


@dataclass(frozen=True)
class Savings:
    """What is done to be fast, or to fit. Each changes no number but by rounding, and can be turned off."""

    fused: bool = False
    """The unroll with a backward pass of its own (eagle3/fused)."""
    compact: bool = True
    """Rows that lead to no loss are left out."""
    recompute: bool = False
    """The MLP's activations are made twice and not kept: less memory, more time. Of the fused unroll."""
    stored_teacher: bool = True
    """What the producer has stored of the target's logits is used, where it has."""


class Unrolling(ABC):
    def __init__(
        self, world: World, ttt: TttOptions, embedding: Tensor, teacher: Teacher, savings: Savings | None = None
    ) -> None:
        self._world, self._ttt = world, ttt
        self._embedding, self._teacher = embedding, teacher
        self._savings = savings or Savings()

    @property
    def uses_stored_teacher(self) -> bool:
        return self._savings.stored_teacher

    @property
    def buffer_bytes(self) -> int:
        """What it keeps from one batch to the next."""
        return 0

    @abstractmethod
    def plan(self, loss_mask: Tensor, lengths: Sequence[int]) -> Plan: ...

    @abstractmethod
    def moved(self, plan: Plan) -> Plan:
        """The plan on the device, by copies that do not wait."""

    @abstractmethod
    def add_gradients(
        self, draft: SharedDraft, rows: Rows, weighing: Weighing, boundary: bool
    ) -> tuple[Tensor, StepSums]:
        """Forward and backward, a collective. This rank's shares [K] of the per-step losses, and its sums; detached."""

    @abstractmethod
    def evaluate(self, draft: SharedDraft, rows: Rows) -> StepSums:
        """Forward only, a collective. This rank's sums; nothing of the training changes."""

    def _shares(self, sums: StepSums, weighing: Weighing) -> Tensor:
        trained, overlap = self._totals(sums)
        return ploss_shares(sums, self._ttt, weighing.positions, trained, overlap) / weighing.window

    def _totals(self, sums: StepSums) -> tuple[Tensor, Tensor]:
        """`trained` and `overlap` over all ranks, where the loss asks for them."""
        own = torch.stack((sums.trained.to(sums.overlap.dtype), sums.overlap.detach()))
        trained, overlap = self._world.sum(own) if self._ttt.needs_totals else own
        return trained, overlap


class PlainUnrolling(Unrolling):
    """Any device and dtype. What the fused one is compared with."""

    def plan(self, loss_mask: Tensor, lengths: Sequence[int]) -> RowPlan:
        return plan_rows(loss_mask, lengths, self._ttt.steps, self._ttt.mask_offset, self._savings.compact)

    def moved(self, plan: Plan) -> RowPlan:
        assert isinstance(plan, RowPlan)
        return plan.to(self._world.device)

    def add_gradients(
        self, draft: SharedDraft, rows: Rows, weighing: Weighing, boundary: bool
    ) -> tuple[Tensor, StepSums]:
        work = self._work(rows)
        with self._half(draft):
            sums = draft.run(work)
        shares = self._shares(sums, weighing)
        draft.backward(decayed(shares, self._ttt.decay) * draft.scale, boundary)
        return shares.detach(), sums

    def evaluate(self, draft: SharedDraft, rows: Rows) -> StepSums:
        work = self._work(rows)
        with self._half(draft):
            return draft.look(work)

    def _work(self, rows: Rows) -> Callable[[Draft], StepSums]:
        plan = rows.plan
        assert isinstance(plan, RowPlan)
        targets = self._teacher(rows.hidden, rows.summary)
        return lambda whole: unroll(whole, self._embedding, rows.ids, rows.aux, plan, targets)

    def _half(self, draft: SharedDraft) -> torch.autocast | nullcontext[None]:
        """A replicated draft has fp32 weights only; a sharded one is gathered in half precision."""
        if self._embedding.dtype == torch.bfloat16 and isinstance(draft, ReplicatedDraft):
            return torch.autocast(self._world.device.type, dtype=torch.bfloat16)
        return nullcontext()


class FusedUnrolling(Unrolling):
    """One backward pass by hand. One micro-step at a time: its buffers are one micro-step's."""

    def __init__(
        self, world: World, ttt: TttOptions, embedding: Tensor, teacher: Teacher, savings: Savings | None = None
    ) -> None:
        super().__init__(world, ttt, embedding, teacher, savings)
        self.buffers = Buffers(world.device)
        self._kernels = row_kernels(world.device, embedding.dtype)

    @property
    def buffer_bytes(self) -> int:
        return self.buffers.bytes

    def plan(self, loss_mask: Tensor, lengths: Sequence[int]) -> FusedPlan:
        found = plan_fused(loss_mask, lengths, self._ttt.steps, self._ttt.mask_offset, self._savings.compact)
        return found.pinned() if self._world.device.type == "cuda" else found

    def moved(self, plan: Plan) -> FusedPlan:
        assert isinstance(plan, FusedPlan)
        return plan.to(self._world.device)

    def add_gradients(
        self, draft: SharedDraft, rows: Rows, weighing: Weighing, boundary: bool
    ) -> tuple[Tensor, StepSums]:
        inputs = self._inputs(rows)
        scale = draft.scale / weighing.window
        objective = Objective(self._ttt, weighing.positions, scale, self._world.sum)
        loss, *found = draft.run(lambda whole: fused_unroll(whole, inputs, objective, self._kernels, self.buffers))
        draft.backward(loss, boundary)
        sums = StepSums(*found)
        return self._shares(sums, weighing), sums

    def evaluate(self, draft: SharedDraft, rows: Rows) -> StepSums:
        inputs = self._inputs(rows)
        return StepSums(*draft.look(lambda whole: fused_sums(whole, inputs, self._kernels, self.buffers)))

    def _inputs(self, rows: Rows) -> Inputs:
        assert isinstance(rows.plan, FusedPlan)
        teacher = self._teacher.logits(rows.hidden, rows.summary)
        return Inputs(self._embedding, rows.ids, rows.aux, rows.plan, teacher, self._savings.recompute)


def row_kernels(device: torch.device, dtype: torch.dtype) -> RowKernels:
    """The kernels for frozen weights of this dtype. Triton is loaded only where it is used."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return torch_rows
    from draftbridge.drafts.eagle3.fused.kernels import triton_rows

    kernel_builds.watch()
    return triton_rows
