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

    Memory must be unregistered from CUDA before it is unmapped. Otherwise CUDA still uses the old pages when the kernel
    maps other memory at that address, and copies to the device silently have the old content.
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
        """Pins the memory, once this process has a CUDA context. If that fails (limit on locked memory), copies to the
        device are slower."""
        if self.pinned or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self))
        self.pinned = int(_runtime().cudaHostRegister(self._address, len(self), 0)) == 0

    def unpin(self) -> None:
        if self.pinned:
            self.pinned = False
            _runtime().cudaHostUnregister(self._address)

    def __del__(self) -> None:
        # When the process ends, the kernel and the driver free everything.
        if not sys.is_finalizing():
            self.unpin()


def _runtime() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]
