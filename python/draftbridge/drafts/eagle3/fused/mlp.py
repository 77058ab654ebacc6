"""The MLP of all steps. Its activations are most of a batch's memory: they are kept, or computed a second time."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.weights import Weights
from draftbridge.drafts.eagle3.kernels.row_kernels import RowKernels


class Mlp(ABC):
    """`units` [n,H]: a step's normed input. Steps run forward in order, and backward in reverse order."""

    def __init__(self, kernels: RowKernels, weights: Weights) -> None:
        self._kernels, self._weights = kernels, weights

    @abstractmethod
    def run(self, k: int, units: Tensor, residual: Tensor, out: Tensor) -> None:
        """out = residual + the MLP of `units`."""

    @abstractmethod
    def back(self, k: int, given: Tensor, units: Tensor) -> Tensor:
        """The gradient by `units`, from the gradient `given` by the output."""

    @abstractmethod
    def weight_grads(self, given: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the gate-and-up and the down matrix, after the last `back`. Both arguments are
        [K,n,H], of all steps."""

    def _forward(self, units: Tensor, gate_up: Tensor, inner: Tensor) -> None:
        torch.mm(units, self._weights.gate_up.T, out=gate_up)
        self._kernels.silu_mul(gate_up, inner)

    def _back(self, given: Tensor, gate_up: Tensor) -> Tensor:
        """Replaces `gate_up` by its gradient."""
        self._kernels.silu_mul_backward(torch.mm(given, self._weights.down), gate_up)
        return torch.mm(gate_up, self._weights.gate_up)


class KeptMlp(Mlp):
    """Keeps 3 I numbers per row and step. Each weight's gradient is one product over all steps."""

    def __init__(self, kernels: RowKernels, weights: Weights, buffers: Buffers, steps: int, rows: int) -> None:
        super().__init__(kernels, weights)
        width, dtype = weights.down.shape[1], weights.down.dtype
        self._gate_up = buffers.take("gate_up", (steps, rows, 2 * width), dtype)
        self._inner = buffers.take("inner", (steps, rows, width), dtype)

    def run(self, k: int, units: Tensor, residual: Tensor, out: Tensor) -> None:
        self._forward(units, self._gate_up[k], self._inner[k])
        torch.addmm(residual, self._inner[k], self._weights.down.T, out=out)

    def back(self, k: int, given: Tensor, units: Tensor) -> Tensor:
        return self._back(given, self._gate_up[k])

    def weight_grads(self, given: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        by_gate_up = self._gate_up.flatten(0, 1).T @ units.flatten(0, 1)
        return by_gate_up, given.flatten(0, 1).T @ self._inner.flatten(0, 1)


class RecomputedMlp(Mlp):
    """Keeps no activations: with seven steps a seventh of the memory, for one more product per step."""

    def __init__(self, kernels: RowKernels, weights: Weights, buffers: Buffers, rows: int) -> None:
        super().__init__(kernels, weights)
        width, dtype = weights.down.shape[1], weights.down.dtype
        self._gate_up = buffers.take("gate_up", (rows, 2 * width), dtype)
        self._inner = buffers.take("inner", (rows, width), dtype)
        # Not from `buffers`: autograd may hand these tensors out as the parameters' gradients.
        wide = kernels.wide(dtype)
        self._by_gate_up = torch.zeros_like(weights.gate_up, dtype=wide)
        self._by_down = torch.zeros_like(weights.down, dtype=wide)

    def run(self, k: int, units: Tensor, residual: Tensor, out: Tensor) -> None:
        self._forward(units, self._gate_up, self._inner)
        torch.addmm(residual, self._inner, self._weights.down.T, out=out)

    def back(self, k: int, given: Tensor, units: Tensor) -> Tensor:
        self._forward(units, self._gate_up, self._inner)
        self._kernels.accumulate(self._by_down, given.T, self._inner)
        by_units = self._back(given, self._gate_up)
        self._kernels.accumulate(self._by_gate_up, self._gate_up.T, units)
        return by_units

    def weight_grads(self, given: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        return self._by_gate_up, self._by_down
