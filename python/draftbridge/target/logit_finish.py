"""From products of hidden states with the head's rows to the target's logits: bias, scale and soft cap."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LogitFinish:
    """In the order of transformers' models, and rounded where they round."""

    scale: float = 1.0
    cap: float | None = None
    bias: Tensor | None = None
    """[V], on the device and in the dtype to compute in."""

    def __call__(self, products: Tensor, at: slice | Tensor) -> Tensor:
        """`products` [..., n] with the head's rows `at`; they are changed in place."""
        if self.bias is not None:
            products += self.bias[at]
        if self.scale != 1:
            products *= self.scale
        if self.cap is not None:
            products.div_(self.cap).tanh_().mul_(self.cap)
        return products

    def to(self, device: torch.device, dtype: torch.dtype) -> LogitFinish:
        bias = None if self.bias is None else self.bias.to(device, dtype)
        return LogitFinish(self.scale, self.cap, bias)


PLAIN_LOGITS = LogitFinish()
