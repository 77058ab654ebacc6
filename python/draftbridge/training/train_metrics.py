"""Training metrics between two log lines: sums over micro-steps, added up over ranks only when they are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.device import kernel_builds
from draftbridge.distributed.world import World
from draftbridge.drafts.step_sums import StepSums


@dataclass(frozen=True)
class HostCounts:
    """Counts of a micro-step that the CPU has without waiting for the device."""

    mask_sums: tuple[int, ...]
    tokens: int
    loss_tokens: int
    flops: float


class TrainMetrics:
    """Sums stay on the device, so that a step never waits for them."""

    def __init__(self, steps: int, world: World) -> None:
        self._world = world
        self._size = steps
        self._reset()

    def _reset(self) -> None:
        self._device = torch.zeros(1 + 4 * self._size, dtype=torch.float64, device=self._world.device)
        self._host = [0.0] * (self._size + 3)
        self._steps = 0
        self._built = kernel_builds.built()
        self._norm = torch.zeros((), dtype=torch.float64, device=self._world.device)

    @torch.no_grad()
    def add(self, loss: Tensor, shares: Tensor, sums: StepSums, counts: HostCounts) -> None:
        """One micro-step. `loss` and `shares` [K]: this rank's part, already divided by the window."""
        parts = (loss.reshape(1), shares, sums.hits, sums.overlap, sums.trained)
        self._device += torch.cat([part.double() for part in parts])
        added = (*counts.mask_sums, counts.tokens, counts.loss_tokens, counts.flops)
        self._host = [old + new for old, new in zip(self._host, added, strict=True)]

    def stepped(self, norm: Tensor) -> None:
        """An optimiser step has been made; `norm` is its gradient norm before clipping."""
        self._steps += 1
        self._norm += norm

    def read(self, lr: float) -> dict[str, object]:
        """Metrics since the last read, in the wire form of TrainMetrics in src/bridge/ops.ts. A collective."""
        builds = kernel_builds.built() - self._built
        host = torch.tensor([*self._host, builds], dtype=torch.float64, device=self._world.device)
        values: list[float] = self._world.sum(torch.cat((self._device, host))).tolist()
        k, steps, norm = self._size, self._steps, float(self._norm)
        self._reset()
        loss, rest = values[0], [values[1 + i * k : 1 + (i + 1) * k] for i in range(5)]
        ploss, hits, overlap, trained, masked = rest
        return {
            "steps": steps,
            "loss": ratio(loss, steps),
            "gradNorm": ratio(norm, steps),
            "lr": lr,
            "ploss": [ratio(value, steps) for value in ploss],
            "acc": [ratio(*pair) for pair in zip(hits, masked, strict=True)],
            "acceptanceRate": [ratio(*pair) for pair in zip(overlap, trained, strict=True)],
            "tokens": int(values[-4]),
            "lossTokens": int(values[-3]),
            "flops": values[-2],
            "kernelBuilds": int(values[-1]),
        }


def ratio(numerator: float, denominator: float) -> float | None:
    """None where there is nothing to report: JSON has no NaN."""
    value = numerator / denominator if denominator else math.nan
    return value if math.isfinite(value) else None
