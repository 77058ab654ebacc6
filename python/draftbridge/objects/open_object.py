"""Opening an object: its header is read and taken apart, wherever its bytes are."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from draftbridge.objects.byte_source import ByteSource, StoredObject, read_bytes
from draftbridge.objects.object_errors import EndedEarly, corrupt
from draftbridge.objects.object_header import Header, header_of
from draftbridge.objects.safetensors_header import MAX_HEADER

# The headers we write fit, so one call reads them.
_FIRST_READ = 1 << 13


@dataclass(frozen=True)
class Opened:
    source: ByteSource
    header: Header

    @property
    def data_start(self) -> int:
        """Where the tensors' bytes begin in the source."""
        return len(self.header.raw)


def open_object(stored: StoredObject, stack: ExitStack) -> Opened | None:
    """None when there is no such object. `stack` closes it. Raises SAMPLE_CORRUPT for a header that is not
    well-formed."""
    source = stored.open(stack)
    if source is None:
        return None
    raw = _read(source, min(_FIRST_READ, source.size))
    length = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or not 2 <= length <= min(MAX_HEADER, source.size - 8):
        found = f"{length} in a file of {source.size} bytes (at most {MAX_HEADER})"
        raise corrupt(stored.name, "header length", found)
    if len(raw) < 8 + length:
        raw = _read(source, 8 + length)
    raw = raw[: 8 + length]
    return Opened(source, header_of(stored.name, raw, source.size - len(raw)))


def _read(source: ByteSource, size: int) -> bytes:
    raw = read_bytes(source, size, 0)
    if len(raw) < size:
        raise EndedEarly(f"{len(raw)} of {size} bytes of the header, in a file of {source.size} bytes")
    return raw
