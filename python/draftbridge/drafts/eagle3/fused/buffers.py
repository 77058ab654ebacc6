"""Memory of the fused unroll: each buffer is made once, for the largest batch so far, and used again."""

from __future__ import annotations

import torch
from torch import Tensor


class Buffers:
    """What is taken under a name is overwritten when the name is taken again."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held: dict[str, Tensor] = {}

    @property
    def bytes(self) -> int:
        return sum(held.numel() * held.element_size() for held in self._held.values())

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Contiguous; what is in it is left over."""
        count = torch.Size(shape).numel()
        held = self._held.get(name)
        if held is None or held.numel() < count or held.dtype != dtype:
            self._held.pop(name, None)
            # Freed before the larger one is made: both need not fit at once.
            held = None
            held = torch.empty(count, dtype=dtype, device=self._device)
            self._held[name] = held
        return held[:count].view(shape)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return self.take(name, shape, dtype).zero_()
