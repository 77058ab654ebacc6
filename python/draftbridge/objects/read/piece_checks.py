"""Verifying the bytes of an object while they are read, span by span: each span has one check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import xxhash

from draftbridge.keys.store_key import StoreKey
from draftbridge.objects.chunk_checks import checks_for
from draftbridge.objects.object_errors import corrupt
from draftbridge.objects.object_header import CHECK_WIDTH, Header
from draftbridge.objects.safetensors_header import Entry


class Span(NamedTuple):
    """Bytes of a tensor that have one check."""

    start: int
    end: int
    update: Callable[[memoryview], object]
    """Call it with all bytes of the span, in order."""
    expect_good: Callable[[], None]
    """Call it at the end. Raises SAMPLE_CORRUPT when the bytes are not those that were stored."""


class TensorChecks(Protocol):
    whole: bool
    """The whole tensor is one span."""

    def spans(self, start: int, end: int) -> Iterator[Span]:
        """The spans from `start` to `end`, both at borders of spans. Threads must not share the result."""


class ObjectChecks:
    """The checks that an object's header states."""

    def __init__(self, file: str, header: Header, key: StoreKey | None) -> None:
        self._file = file
        self._header = header
        self._chunks = checks_for(header.auth, key, header.salt)

    def of(self, entry: Entry) -> TensorChecks:
        header = self._header
        if entry.name not in header.digests:
            raise corrupt(self._file, f"__metadata__.digest.{entry.name}", "nothing")
        if not header.chunk_bytes:
            return _Digested(self._file, entry.name, header.digests[entry.name])
        width, stated = CHECK_WIDTH[header.auth], header.checks[entry.name]
        index = header.index_of(entry.name)

        def span(chunk: int, start: int, end: int) -> Span:
            opening = self._chunks.open(index, chunk, stated[chunk * width : (chunk + 1) * width])

            def expect_good() -> None:
                if not opening.good():
                    raise corrupt(self._file, entry.name, f"bytes in chunk {chunk} that are not those stored")

            return Span(start, end, opening.update, expect_good)

        return _Chunked(header.chunk_bytes, span)


class _Chunked:
    whole = False

    def __init__(self, size: int, span: Callable[[int, int, int], Span]) -> None:
        self._size = size
        self._span = span

    def spans(self, start: int, end: int) -> Iterator[Span]:
        for at in range(start, end, self._size):
            yield self._span(at // self._size, at, min(at + self._size, end))


class _Digested:
    whole = True

    def __init__(self, file: str, name: str, digest: str) -> None:
        self._file, self._name, self._digest = file, name, digest

    def spans(self, start: int, end: int) -> Iterator[Span]:
        hasher = xxhash.xxh3_64()

        def expect_good() -> None:
            found = f"xxh3_64:{hasher.hexdigest()}"
            if found != self._digest:
                raise corrupt(self._file, self._name, f"bytes with digest {found}; the object says {self._digest}")

        yield Span(start, end, hasher.update, expect_good)
