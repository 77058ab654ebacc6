"""Opening an object: its header is read and taken apart, wherever its bytes are."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from draftbridge.objects.byte_source import ByteSource, StoredObject, read_bytes
from draftbridge.objects.object_errors import corrupt
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
    raw = read_bytes(source, min(_FIRST_READ, source.size), 0)
    length = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or not 2 <= length <= min(MAX_HEADER, source.size - 8):
        found = f"{length} in a file of {source.size} bytes (at most {MAX_HEADER})"
        raise corrupt(stored.name, "header length", found)
    if len(raw) < 8 + length:
        raw = read_bytes(source, 8 + length, 0)
    if len(raw) < 8 + length:
        raise corrupt(stored.name, "header", f"{len(raw) - 8} of {length} bytes")
    raw = raw[: 8 + length]
    return Opened(source, header_of(stored.name, raw, source.size - len(raw)))
