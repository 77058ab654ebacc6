"""One architecture's part of a training step: from a batch to losses and gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from draftbridge.bridge.handles import TensorDict
from draftbridge.distributed.shared_draft import SharedDraft
from draftbridge.drafts.draft_description import DraftDescription
from draftbridge.drafts.step_sums import StepSums
from draftbridge.drafts.teacher_summary import TeacherSummary


class Plan(Protocol):
    """Which rows of a batch are read and trained. Made on the CPU, so that no step waits for the device."""

    @property
    def wanted(self) -> Tensor:
        """[R] rows at which training reads the features that are declared with `rows="wanted"`."""
        ...

    @property
    def mask_sums(self) -> tuple[int, ...]:
        """K denominators of the accuracy."""
        ...


@dataclass(frozen=True)
class Rows:
    """A batch on the device: N rows, R of them wanted."""

    ids: Tensor  # int64 [N]
    states: TensorDict  # by feature name: [N, width], or [R, width] of those that are read at wanted rows only
    plan: Plan
    summary: TeacherSummary | None  # of the plan's wanted rows


@dataclass(frozen=True)
class LossScale:
    """What the loss of a micro-step is divided by: `positions` over all ranks, and `window` micro-steps."""

    positions: int
    window: int


class DraftTrainer(ABC):
    """Runs a draft over batches, forward and backward. K is its number of draft positions."""

    description: DraftDescription
    dtype: torch.dtype
    """Of the features on the device."""
    uses_summary: bool
    """Whether a stored TeacherSummary is read."""
    draft_positions: int
    """K"""

    @property
    @abstractmethod
    def frozen_tensors(self) -> Sequence[Tensor]:
        """On the device, read by training and never changed."""

    @property
    def buffer_bytes(self) -> int:
        """Memory that is kept from one batch to the next."""
        return 0

    @abstractmethod
    def plan(self, loss_mask: Tensor, lengths: Sequence[int]) -> Plan:
        """`loss_mask` [N] of samples of the given lengths, end to end."""

    @abstractmethod
    def to_device(self, plan: Plan) -> Plan:
        """The plan on the device, by copies that do not wait."""

    @abstractmethod
    def plan_tensors(self, plan: Plan) -> Sequence[Tensor]:
        """All tensors of the plan, so that their memory can be kept while a stream reads them."""

    @abstractmethod
    def add_gradients(
        self, draft: SharedDraft, rows: Rows, scale: LossScale, boundary: bool
    ) -> tuple[Tensor, StepSums]:
        """Forward and backward, a collective. This rank's shares [K] of the losses, and its sums; detached.

        Every parameter gets a gradient, zero if no row is trained: ranks that reduce gradients must all have the same.
        """

    @abstractmethod
    def evaluate(self, draft: SharedDraft, rows: Rows) -> StepSums:
        """Forward only, a collective. This rank's sums; nothing of the training changes."""

    @abstractmethod
    def losses(self, sums: StepSums, positions: int, trained: Tensor, overlap: Tensor) -> Tensor:
        """This rank's shares [K] of the losses; over all ranks they add up to the losses.

        `positions`: of the micro-step over all ranks. `trained`, `overlap` [K]: those sums over all ranks, detached.
        """

    @abstractmethod
    def total(self, losses: Tensor) -> Tensor:
        """One loss from those of the K positions."""

    @abstractmethod
    def flops(self, plan: Plan, has_summary: bool) -> float:
        """Floating-point operations of a training step with this plan, which lies on the CPU."""
