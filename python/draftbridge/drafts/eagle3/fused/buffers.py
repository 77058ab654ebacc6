"""Memory of the fused unroll: each buffer is allocated once, for the largest batch so far, and reused."""

from __future__ import annotations

import torch
from torch import Tensor


class Buffers:
    """Named buffers. Taking a name again overwrites what was taken before."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: dict[str, Tensor] = {}

    @property
    def bytes(self) -> int:
        return sum(buffer.numel() * buffer.element_size() for buffer in self._buffers.values())

    def take(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Contiguous; its content is undefined."""
        count = torch.Size(shape).numel()
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < count or buffer.dtype != dtype:
            self._buffers.pop(name, None)
            # Free the old buffer first: both need not fit at once.
            buffer = None
            buffer = torch.empty(count, dtype=dtype, device=self._device)
            self._buffers[name] = buffer
        return buffer[:count].view(shape)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return self.take(name, shape, dtype).zero_()
