"""Giving a stored object another key of its store. Nothing of it is believed before the old key has confirmed it."""

from __future__ import annotations

from contextlib import ExitStack

from draftbridge.files.positioned import read_at
from draftbridge.keys.store_key import StoreKey
from draftbridge.objects.chunk_checks import ChunkChecks, accepted_key, checks_for
from draftbridge.objects.object_errors import corrupt, storage_error
from draftbridge.objects.object_header import CHECK_WIDTH, Header
from draftbridge.objects.open_object import Opened, open_extern, open_object
from draftbridge.objects.safetensors_header import Entry
from draftbridge.objects.write.object_draft import ObjectDraft
from draftbridge.objects.write.object_writer import new_file


def rekey(path: str, staged: str, old: StoreKey, new: StoreKey, fsync: bool) -> bool:
    """Write the object at `path` to the new file `staged`, under `new`. False, and no file, when it already is.

    Refs stay good: the digests are carried over as they stand. Raises SAMPLE_CORRUPT for bytes that the old key does
    not confirm, STORE_AUTH for an object under neither key.
    """
    with ExitStack() as stack:
        try:
            opened = open_object(path, stack)
        except OSError as exc:
            raise storage_error(path, exc) from exc
        if opened is None:
            return False
        header = opened.header
        if header.key_id == new.id:
            accepted_key(path, header, new)
            return False
        accepted = accepted_key(path, header, old)
        with new_file(staged, fsync) as fd:
            draft = ObjectDraft(
                list(header.entries.values()), header.metadata, new, header.extern, carried=header.digests, synced=fsync
            )
            draft.reserve()
            for name, data in _readers(path, opened, accepted, stack).items():
                draft.put(name, data, fd if name in header.entries else None)
            draft.finish(fd)
        return True


def _readers(path: str, opened: Opened, key: StoreKey | None, stack: ExitStack) -> dict[str, _Confirmed]:
    header = opened.header
    checks = checks_for(header.auth, key, header.salt)
    found = {
        name: _Confirmed(path, header, entry, checks, opened.fd, opened.base) for name, entry in header.entries.items()
    }
    if header.extern is not None:
        fd = open_extern(path, header.extern, stack)
        if fd is None:
            raise corrupt(path, "file", "freed while it was given another key")
        for name, entry in header.extern.entries.items():
            found[name] = _Confirmed(path, header, entry, checks, fd, 0)
    return found


class _Confirmed:
    """A tensor's plain bytes, sliced by chunks; each slice is what the old key confirms, or an error."""

    def __init__(self, path: str, header: Header, entry: Entry, checks: ChunkChecks, fd: int, base: int) -> None:
        self._path = path
        self._entry = entry
        self._chunk_bytes = header.chunk_bytes
        self._checks = checks
        self._fd = fd
        self._base = base + entry.start
        self._index = header.index_of(entry.name)
        self._stated = header.checks.get(entry.name, b"")
        self._width = CHECK_WIDTH[header.auth]
        self._chunk = -1
        self._room = memoryview(bytearray(min(len(self), max(1, header.chunk_bytes))))

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
        data = self._room[: min(self._chunk_bytes, len(self) - start)]
        if chunk == self._chunk:
            return data
        self._chunk = -1
        if read_at(self._fd, data, self._base + start) < len(data):
            raise corrupt(self._path, self._entry.name, "the file ends inside this tensor")
        opening = self._checks.open(self._index, chunk, self._stated[chunk * self._width : (chunk + 1) * self._width])
        opening.update(data)
        if not opening.good():
            raise corrupt(self._path, self._entry.name, f"bytes in chunk {chunk} that are not those stored")
        self._chunk = chunk
        return data
