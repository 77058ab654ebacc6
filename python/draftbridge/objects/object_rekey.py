"""Rewriting a stored object under another key of its store. All its bytes are verified with the old key first."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack

from draftbridge.keys.store_key import StoreKey
from draftbridge.objects.byte_source import ByteSource, StoredObject, fill
from draftbridge.objects.chunk_checks import ChunkChecks, accepted_key, checks_for
from draftbridge.objects.object_errors import corrupt, storage_error
from draftbridge.objects.object_header import CHECK_WIDTH, Header
from draftbridge.objects.open_object import Opened, open_object
from draftbridge.objects.safetensors_header import Entry
from draftbridge.objects.write.byte_sink import ByteSink
from draftbridge.objects.write.object_draft import ObjectDraft


def rekey(stored: StoredObject, copy: AbstractContextManager[ByteSink], old: StoreKey, new: StoreKey) -> bool:
    """Write the object `stored` anew, under the key `new`, to the sink that `copy` makes. False, and `copy` is not
    entered, when the object is under that key already, or is gone.

    Refs stay good: the digests are carried over as they stand. Raises SAMPLE_CORRUPT for bytes that the old key does
    not confirm, STORE_AUTH for an object under neither key.
    """
    with ExitStack() as stack:
        try:
            opened = open_object(stored, stack)
        except OSError as exc:
            raise storage_error(stored.name, exc) from exc
        if opened is None:
            return False
        header = opened.header
        if header.key_id == new.id:
            accepted_key(stored.name, header, new)
            return False
        accepted = accepted_key(stored.name, header, old)
        with copy as sink:
            entries = list(header.entries.values())
            draft = ObjectDraft(entries, header.metadata, new, header.extern, carried=header.digests)
            draft.reserve()
            for name, data in _readers(stored, opened, accepted, stack).items():
                draft.put(name, data, sink if name in header.entries else None)
            draft.finish(sink)
        return True


def _readers(stored: StoredObject, opened: Opened, key: StoreKey | None, stack: ExitStack) -> dict[str, _Confirmed]:
    header = opened.header
    checks = checks_for(header.auth, key, header.salt)
    found = {
        name: _Confirmed(stored.name, header, entry, checks, opened.source, opened.data_start)
        for name, entry in header.entries.items()
    }
    if header.extern is not None:
        outside = stored.open_extern(header.extern, stack)
        if outside is None:
            raise corrupt(stored.name, "file", "freed while it was given another key")
        for name, entry in header.extern.entries.items():
            found[name] = _Confirmed(stored.name, header, entry, checks, outside, 0)
    return found


class _Confirmed:
    """A tensor's plain bytes. Slicing reads whole chunks and raises SAMPLE_CORRUPT unless the old key verifies them."""

    def __init__(
        self, name: str, header: Header, entry: Entry, checks: ChunkChecks, source: ByteSource, start: int
    ) -> None:
        self._name = name
        self._entry = entry
        self._chunk_bytes = header.chunk_bytes
        self._checks = checks
        self._source = source
        self._start = start + entry.start
        self._index = header.index_of(entry.name)
        self._stated = header.checks.get(entry.name, b"")
        self._width = CHECK_WIDTH[header.auth]
        self._chunk = -1
        self._buffer = memoryview(bytearray(min(len(self), max(1, header.chunk_bytes))))

    def __len__(self) -> int:
        return self._entry.end - self._entry.start

    def __getitem__(self, part: slice) -> memoryview:
        start, stop, _ = part.indices(len(self))
        size = self._chunk_bytes
        if start // size == (stop - 1) // size:
            return self._load(start // size)[start % size : (stop - 1) % size + 1]
        pieces = (
            self._load(at // size)[at % size : min(size, at % size + stop - at)]
            for at in (start, *range((start // size + 1) * size, stop, size))
        )
        return memoryview(b"".join(bytes(piece) for piece in pieces))

    def _load(self, chunk: int) -> memoryview:
        start = chunk * self._chunk_bytes
        data = self._buffer[: min(self._chunk_bytes, len(self) - start)]
        if chunk == self._chunk:
            return data
        self._chunk = -1
        try:
            fill(self._source, data, self._start + start, self._entry.name)
        except OSError as exc:
            raise storage_error(self._name, exc) from exc
        opening = self._checks.open(self._index, chunk, self._stated[chunk * self._width : (chunk + 1) * self._width])
        opening.update(data)
        if not opening.good():
            raise corrupt(self._name, self._entry.name, f"bytes in chunk {chunk} that are not those stored")
        self._chunk = chunk
        return data
