"""Page-aligned host memory that can be pinned for CUDA while it is mapped."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from typing import Any

import torch

_HUGE = 1 << 21


class HostMemory(mmap.mmap):
    """Anonymous memory. Memoryviews and tensors over it keep it mapped.

    CUDA must forget a mapping before it goes: whatever the kernel maps at that address next would be taken for the
    pages that lay there before, and copies to the device would silently bring the old content.
    """

    pinned = False

    @classmethod
    def of(cls, size: int) -> HostMemory:
        try:
            memory = cls(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError) as exc:
            raise MemoryError(f"no memory for {size} bytes of a sample") from exc
        if size >= _HUGE:
            with contextlib.suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
        return memory

    def pin(self) -> None:
        """As soon as this process has a CUDA context. May be refused (a limit on locked memory): then the memory is as
        good, only slower to copy."""
        if self.pinned or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self))
        self.pinned = int(_runtime().cudaHostRegister(self._address, len(self), 0)) == 0

    def unpin(self) -> None:
        if self.pinned:
            self.pinned = False
            _runtime().cudaHostUnregister(self._address)

    def __del__(self) -> None:
        # A process that ends takes its mappings and CUDA's knowledge of them along.
        if not sys.is_finalizing():
            self.unpin()


def _runtime() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]
