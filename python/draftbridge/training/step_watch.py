"""Checks each step's loss once the device has computed it, and keeps the host from running too far ahead."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError

# Enough that the device never waits for the host; each holds a batch on the device.
_MAX_PENDING = 2


@dataclass(frozen=True)
class _Pending:
    step: int
    numbers: Tensor  # [2 + ranks] gradient norm, loss, and its part of each rank: on the host, once `reached` is
    reached: torch.cuda.Event | None


@dataclass(frozen=True)
class WatchedStep:
    step: int
    loss: float
    norm: float


class StepWatch:
    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pending: deque[_Pending] = deque()
        self._seen: list[WatchedStep] = []

    def stepped(self, step: int, norm: Tensor, losses: Tensor) -> None:
        """`losses` [1 + ranks]: of all ranks together, and each one's part of it. FEATURE_INVALID if the loss or norm
        of this step, or of an earlier one not yet checked, is not finite."""
        numbers = torch.cat((norm.reshape(1), losses))
        reached = None
        if self._device.type == "cuda":
            on_host = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            on_host.copy_(numbers, non_blocking=True)
            numbers, reached = on_host, torch.cuda.current_stream().record_event()
        self._pending.append(_Pending(step, numbers, reached))
        while len(self._pending) > (_MAX_PENDING if reached is not None else 0):
            self._check_oldest()

    def settle(self) -> None:
        while self._pending:
            self._check_oldest()

    def seen(self) -> list[WatchedStep]:
        """Steps that were checked since the last call, in order."""
        seen, self._seen = self._seen, []
        return seen

    def _check_oldest(self) -> None:
        pending = self._pending.popleft()
        if pending.reached is not None:
            pending.reached.synchronize()
        norm, loss, *parts = pending.numbers.tolist()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NotFinite(pending.step, loss, norm, parts)
        self._seen.append(WatchedStep(pending.step, loss, norm))


class NotFinite(BridgeError):
    """Its details name the step and, where that is known, the ranks on which it began: TypeScript knows the samples."""

    def __init__(self, step: int, loss: float, norm: float, parts: list[float]) -> None:
        ranks = [rank for rank, part in enumerate(parts) if not math.isfinite(part)]
        where = f"; it began on rank {' and '.join(map(str, ranks))}" if ranks else ""
        super().__init__(
            "FEATURE_INVALID",
            f"The loss became non-finite at optimiser step {step}.",
            field="loss",
            found=f"loss {loss}, gradient norm {norm}{where}",
            fix="look for NaN in the features of this step, or lower train.optimizer.lr; the last checkpoint is good",
        )
        self.details |= {"step": step, "ranks": ranks}
