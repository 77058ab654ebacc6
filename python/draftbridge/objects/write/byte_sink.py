"""Where the bytes of a new object go: a file today, and anything else that can be written at an offset."""

from __future__ import annotations

import contextlib
import os
from typing import Protocol

from draftbridge.files.positioned import write_at
from draftbridge.objects.object_errors import storage_error
from draftbridge.objects.write.writeback import Writeback


class ByteSink(Protocol):
    def write(self, data: memoryview, offset: int) -> None:
        """Write all of `data` (bytes) from `offset` on. `data` may change as soon as this returns.

        Raises OSError when it cannot be written.
        """


class FileSink:
    """A file that is written mostly from a low offset to a high one. Whoever opened it closes it."""

    def __init__(self, fd: int, *, synced: bool) -> None:
        self._fd = fd
        self._writeback = Writeback(wanted=synced)

    def write(self, data: memoryview, offset: int) -> None:
        write_at(self._fd, data, offset)
        self._writeback.written(self._fd, offset, offset + len(data))


class NewFile(contextlib.AbstractContextManager[FileSink]):
    """A new file at `path`. It is there only when the block ends without an error, and then synced if `fsync` says so.

    Raises STORE_FULL or STORE_UNAVAILABLE for an OSError, also for one that the block raises.
    """

    def __init__(self, path: str, *, fsync: bool) -> None:
        self._path = path
        self._fsync = fsync
        self._fd = -1

    def __enter__(self) -> FileSink:
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise storage_error(self._path, exc) from exc
        return FileSink(self._fd, synced=self._fsync)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            try:
                if error is None and self._fsync:
                    os.fsync(self._fd)
            finally:
                os.close(self._fd)
        except OSError as exc:
            error = error or exc
        if error is None:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        if isinstance(error, OSError):
            raise storage_error(self._path, error) from error
