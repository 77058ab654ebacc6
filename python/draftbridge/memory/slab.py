"""Page-aligned memory for reads, which is reused. New memory would cost more than the read, because the kernel must
clear each page first."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import weakref

import torch

from draftbridge.bridge.handles import TensorDict
from draftbridge.memory.host_memory import HostMemory

_PAGE = mmap.PAGESIZE
_MAX_KEPT = 1 << 30


class Slab:
    """One piece of memory. Pinned as soon as this process has a CUDA context."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.memory = HostMemory.of(size)

    def pin(self) -> None:
        self.memory.pin()

    def drop(self) -> None:
        self.memory.unpin()
        # If a tensor or view still uses the memory, it is unmapped when the last one is freed.
        with contextlib.suppress(BufferError):
            self.memory.close()


class SlabPool:
    """Keeps at most `limit` bytes of unused slabs."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free: list[Slab] = []
        self._lock = threading.Lock()

    @property
    def kept(self) -> int:
        with self._lock:
            return sum(slab.size for slab in self._free)

    def take(self, size: int) -> Slab:
        """A slab of at least `size` bytes. Its content is undefined."""
        with self._lock:
            fitting = [slab for slab in self._free if size <= slab.size <= 2 * max(size, _PAGE)]
            slab = min(fitting, key=lambda slab: slab.size, default=None)
            if slab is not None:
                self._free.remove(slab)
        if slab is None:
            slab = Slab(_rounded(size))
        slab.pin()
        return slab

    def give(self, slab: Slab) -> None:
        dropped = []
        with self._lock:
            self._free.append(slab)
            while sum(slab.size for slab in self._free) > self.limit:
                dropped.append(self._free.pop(0))
        for old in dropped:
            old.drop()


def _default_limit() -> int:
    return min(_MAX_KEPT, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 16)


POOL = SlabPool(_default_limit())


class SlabSet(TensorDict):
    """Tensors in one slab. `close` returns the slab to its pool, unless a tensor still uses the memory."""

    def __init__(self, size: int, pool: SlabPool = POOL) -> None:
        super().__init__()
        self._pool = pool
        self.size = size
        self._slab: Slab | None = pool.take(size)
        # Every tensor made from the anchor refers to it. So a weak reference shows whether any of them is left.
        self._anchor: memoryview | None = memoryview(self._slab.memory)

    def view(self, start: int, size: int) -> memoryview:
        assert self._anchor is not None
        return self._anchor[start : start + size]

    def tensor(self, start: int, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        count = 1
        for width in shape:
            count *= width
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(self._anchor, dtype=dtype, count=count, offset=start).view(shape)

    def close(self) -> None:
        slab, self._slab = self._slab, None
        self.clear()
        if slab is None or self._anchor is None:
            return
        anchor = weakref.ref(self._anchor)
        self._anchor = None
        # A tensor that is still in use keeps the anchor and its memory. Then the slab must not be reused.
        if anchor() is None:
            self._pool.give(slab)


def _rounded(size: int) -> int:
    """`size` rounded up by at most an eighth, so that samples of similar lengths can reuse the same slabs."""
    step = max(_PAGE, 1 << max(0, size.bit_length() - 4))
    return max(_PAGE, -(-size // step) * step)
