"""What the bytes of an object must pass on their way in, in whatever steps they are read."""

from __future__ import annotations

from typing import Protocol

import xxhash

from draftbridge.chunk_checks import Opening, checks_for
from draftbridge.object_errors import corrupt
from draftbridge.object_header import CHECK_WIDTH, Header
from draftbridge.safetensors_header import Entry
from draftbridge.store_key import StoreKey


class PieceCheck(Protocol):
    """The check of one piece of a tensor. Whoever reads the piece has one of its own."""

    def feed(self, data: memoryview, start: int) -> None:
        """The next bytes of the piece; the first of them is byte `start` of the tensor. SAMPLE_CORRUPT as soon as it is
        known that they are not those stored."""


class TensorChecks(Protocol):
    in_order: bool
    """The tensor is one piece: a digest is over all of it, from its first byte to its last."""

    def piece(self) -> PieceCheck: ...


class ObjectChecks:
    """The checks that an object's header states."""

    def __init__(self, file: str, header: Header, key: StoreKey | None) -> None:
        self.file = file
        self.header = header
        self.chunks = checks_for(header.auth, key, header.salt)

    def of(self, entry: Entry) -> TensorChecks:
        digest = self.header.digests.get(entry.name)
        if digest is None:
            raise corrupt(self.file, f"__metadata__.digest.{entry.name}", "nothing")
        return _Chunked(self, entry) if self.header.chunk_bytes else _Digested(self.file, entry, digest)


class _Chunked:
    in_order = False

    def __init__(self, checks: ObjectChecks, entry: Entry) -> None:
        header = checks.header
        self.file, self.name = checks.file, entry.name
        self.size, self.end = header.chunk_bytes, entry.end - entry.start
        self._chunks = checks.chunks
        self._index = header.index_of(entry.name)
        self._stated = header.checks[entry.name]
        self._width = CHECK_WIDTH[header.auth]

    def piece(self) -> PieceCheck:
        return _Chunks(self)

    def open(self, chunk: int) -> Opening:
        return self._chunks.open(self._index, chunk, self._stated[chunk * self._width : (chunk + 1) * self._width])


class _Chunks:
    """A piece that begins where a chunk begins."""

    def __init__(self, tensor: _Chunked) -> None:
        self._tensor = tensor
        self._opening: Opening | None = None

    def feed(self, data: memoryview, start: int) -> None:
        tensor, done = self._tensor, 0
        while done < len(data):
            chunk = (start + done) // tensor.size
            border = min((chunk + 1) * tensor.size, tensor.end)
            opening = self._opening or tensor.open(chunk)
            part = data[done : border - start]
            opening.update(part)
            done += len(part)
            self._opening = None if start + done == border else opening
            if self._opening is None and not opening.good():
                raise corrupt(tensor.file, tensor.name, f"bytes in chunk {chunk} that are not those stored")


class _Digested:
    in_order = True

    def __init__(self, file: str, entry: Entry, digest: str) -> None:
        self._file, self._name, self._digest = file, entry.name, digest
        self._end = entry.end - entry.start
        self._hasher = xxhash.xxh3_64()

    def piece(self) -> PieceCheck:
        return self

    def feed(self, data: memoryview, start: int) -> None:
        self._hasher.update(data)
        if start + len(data) < self._end:
            return
        found = f"xxh3_64:{self._hasher.hexdigest()}"
        if found != self._digest:
            raise corrupt(self._file, self._name, f"bytes with digest {found}; the object says {self._digest}")
