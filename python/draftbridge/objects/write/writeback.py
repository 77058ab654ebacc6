"""Starts writing a file to disk while the rest of it is still being written, so that fsync has little left to do."""

from __future__ import annotations

import ctypes

_STEP = 4 << 20
_WRITE = 2
_call = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _call is not None:
    _call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class Writeback:
    """For one file that is written from a low offset to a high one. Only a hint: without the system call, or when it
    fails, fsync does all the work and reports the error."""

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted and _call is not None
        self._begun: int | None = None

    def written(self, fd: int, start: int, end: int) -> None:
        if not self._wanted or _call is None:
            return
        if self._begun is None:
            self._begun = start
        if end - self._begun >= _STEP:
            _call(fd, self._begun, end - self._begun, _WRITE)
            self._begun = end
