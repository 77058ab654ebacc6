"""A tensor that stays in the user's file and is only read, to make its digest and checks."""

from __future__ import annotations

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.objects.byte_source import ByteSource
from draftbridge.objects.chunk_checks import CHUNK
from draftbridge.objects.safetensors_header import Entry


class TensorInSource:
    """Sliced like memory, and never mapped: the file is the user's and may shrink, and mapped memory would not survive
    that. Each slice is valid until the next one is taken. The slices must cover the tensor, each in whole
    elements."""

    def __init__(self, source: ByteSource, entry: Entry) -> None:
        self._source = source
        self._start, self._size = entry.start, entry.end - entry.start
        self._buffer = bytearray(min(self._size, CHUNK))
        self._values = torch.frombuffer(self._buffer, dtype=entry.dtype) if self._size else torch.zeros(0)
        self.finite = True
        """Whether what was read so far has a finite sum."""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> memoryview:
        start, stop, _ = part.indices(self._size)
        piece = memoryview(self._buffer)[: stop - start]
        if self._source.read(piece, self._start + start) < len(piece):
            raise BridgeError("FEATURE_INVALID", "the feature file was cut short while it was read")
        if self.finite and self._values.is_floating_point():
            values = self._values[: len(piece) // self._values.element_size()]
            self.finite = bool(torch.isfinite(values.sum()))
        return piece
