"""Looks at each step's loss when the device has got there, and keeps the host from running too far ahead of it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.errors import BridgeError

# Enough that the device never waits for the host; each holds a batch on the device.
_AHEAD = 2


@dataclass(frozen=True)
class _Pending:
    step: int
    numbers: Tensor  # [2] loss, gradient norm: on the host, once `reached` is
    reached: torch.cuda.Event | None


class StepWatch:
    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pending: deque[_Pending] = deque()

    def stepped(self, step: int, loss: Tensor, norm: Tensor) -> None:
        """FEATURE_INVALID if the loss or norm of this step, or of one before that was not looked at, is not finite."""
        numbers = torch.stack((loss, norm))
        reached = None
        if self._device.type == "cuda":
            here = torch.empty(2, dtype=numbers.dtype, pin_memory=True)
            here.copy_(numbers, non_blocking=True)
            numbers, reached = here, torch.cuda.current_stream().record_event()
        self._pending.append(_Pending(step, numbers, reached))
        while len(self._pending) > (_AHEAD if reached is not None else 0):
            self._look()

    def settle(self) -> None:
        while self._pending:
            self._look()

    def _look(self) -> None:
        pending = self._pending.popleft()
        if pending.reached is not None:
            pending.reached.synchronize()
        loss, norm = pending.numbers.tolist()
        if math.isfinite(loss) and math.isfinite(norm):
            return
        raise BridgeError(
            "FEATURE_INVALID",
            f"The loss became non-finite at optimiser step {pending.step}.",
            field="loss",
            found=f"loss {loss}, gradient norm {norm}",
            fix="look for NaN in the features of this step, or lower train.optimizer.lr; the last checkpoint is good",
        )
