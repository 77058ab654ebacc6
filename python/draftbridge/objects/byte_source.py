"""Where the bytes of a stored object come from: a file today, and anything else that can be read at an offset."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from draftbridge.files.positioned import read_at
from draftbridge.objects.object_errors import EndedEarly, corrupt

if TYPE_CHECKING:
    from draftbridge.objects.object_header import Extern


class ByteSource(Protocol):
    """Bytes that several threads may read at the same time."""

    @property
    def name(self) -> str:
        """For errors: a path, a key or an address."""

    @property
    def size(self) -> int:
        """In bytes."""

    def read(self, into: memoryview, offset: int) -> int:
        """Fill `into` (bytes) from `offset` on. Returns the bytes read: fewer than asked only at the end of the source.

        Raises OSError when the source cannot be read.
        """


class StoredObject(Protocol):
    """One object of a store, not opened yet."""

    @property
    def name(self) -> str:
        """For errors: a path, a key or an address."""

    def open(self, stack: ExitStack) -> ByteSource | None:
        """The object's bytes, header first; None when there is no such object. `stack` closes them.

        Raises OSError when the store cannot be reached, SAMPLE_CORRUPT for what cannot be an object.
        """

    def open_extern(self, extern: Extern, stack: ExitStack) -> ByteSource | None:
        """The file that some tensors of the object lie in; None when the object was freed since it was opened.

        Raises SAMPLE_CORRUPT, naming the file, when it is not the one that the object was written with.
        """


@dataclass(frozen=True)
class FileSource:
    """An open file. Whoever opened it closes it."""

    name: str
    fd: int
    size: int

    @staticmethod
    def of(name: str, fd: int) -> FileSource:
        return FileSource(name, fd, os.fstat(fd).st_size)

    def read(self, into: memoryview, offset: int) -> int:
        return read_at(self.fd, into, offset)


def fill(source: ByteSource, view: memoryview, offset: int, tensor: str) -> None:
    """Fill `view` with bytes of a tensor. Raises SAMPLE_CORRUPT for bytes that the source does not have."""
    if offset + len(view) > source.size:
        raise corrupt(source.name, tensor, "the file ends inside this tensor")
    got = source.read(view, offset)
    if got < len(view):
        raise EndedEarly(f"{got} of {len(view)} bytes at {offset}, in a file of {source.size} bytes")


def read_bytes(source: ByteSource, size: int, offset: int) -> bytes:
    """`size` bytes from `offset` on; fewer only at the end of the source."""
    found = bytearray(size)
    got = source.read(memoryview(found), offset)
    return bytes(found[:got])
