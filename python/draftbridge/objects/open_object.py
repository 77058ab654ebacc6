"""Opening an object, or a file that its tensors lie in: both are given by somebody else and may be anything."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass

from draftbridge.files.positioned import bytes_at
from draftbridge.objects.object_errors import corrupt, not_plain
from draftbridge.objects.object_header import Extern, Header, header_of
from draftbridge.objects.safetensors_header import MAX_HEADER

# A planted link must not lead elsewhere, and a planted pipe must not hang us.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# The headers we write fit, so one call reads them.
_FIRST = 1 << 13


@dataclass(frozen=True)
class Opened:
    fd: int
    header: Header

    @property
    def base(self) -> int:
        return len(self.header.raw)


def open_object(path: str, stack: ExitStack) -> Opened | None:
    """The object with its header read and taken apart; None when there is none. `stack` closes it.

    The folder it is in and the one above must be plain: whoever can write to the mount can plant a link at any time.
    """
    try:
        fd = _open_inside(path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise corrupt(path, "file", "a symbolic link") from exc
        raise
    stack.callback(os.close, fd)
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        raise corrupt(path, "file", "not a regular file")
    raw = bytes_at(fd, min(_FIRST, info.st_size), 0)
    length = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or not 2 <= length <= min(MAX_HEADER, info.st_size - 8):
        raise corrupt(path, "header length", f"{length} in a file of {info.st_size} bytes (at most {MAX_HEADER})")
    if len(raw) < 8 + length:
        raw = bytes_at(fd, 8 + length, 0)
    if len(raw) < 8 + length:
        raise corrupt(path, "header", f"{len(raw) - 8} of {length} bytes")
    raw = raw[: 8 + length]
    return Opened(fd, header_of(path, raw, info.st_size - len(raw)))


def _open_inside(path: str) -> int:
    folder, name = os.path.split(path)
    above, part = os.path.split(folder)
    opened: list[int] = []
    try:
        opened.append(_open_folder(above, above, None))
        opened.append(_open_folder(folder, part, opened[0]))
        return os.open(name, _FLAGS, dir_fd=opened[1])
    finally:
        for fd in opened:
            os.close(fd)


def _open_folder(folder: str, name: str, above: int | None) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=above)
    except OSError as exc:
        if exc.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise not_plain(folder) from exc


def open_extern(path: str, extern: Extern, stack: ExitStack) -> int | None:
    """A descriptor of the file that tensors of the object at `path` lie in. None when the object has been freed, file
    and all, since it was opened. SAMPLE_CORRUPT, naming the file, when it is not the one it was."""
    # Relative to the store: objects/<2 hex>/<object>
    file = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(path))), extern.file)
    fix = "put the file back as it was, or remove the sample and run the producer again"
    try:
        fd = open_plain(file, stack)
    except FileNotFoundError:
        if not os.path.lexists(path):
            return None
        raise corrupt(file, "file", "no such file, and tensors of a sample lie in it", fix=fix) from None
    found = changed(fd, extern.size, extern.mtime_ns)
    if found is not None:
        raise corrupt(file, "file", f"{found} since the sample was put", fix=fix)
    return fd


def open_plain(file: str, stack: ExitStack) -> int:
    """SAMPLE_CORRUPT for what is no regular file."""
    try:
        fd = os.open(file, _FLAGS)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise corrupt(file, "file", "a symbolic link") from exc
        raise
    stack.callback(os.close, fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise corrupt(file, "file", "not a regular file")
    return fd


def changed(fd: int, size: int, mtime_ns: int) -> str | None:
    """In words, what is no longer as it was."""
    info = os.fstat(fd)
    if info.st_size != size:
        return f"its size went from {size} to {info.st_size}"
    if info.st_mtime_ns != mtime_ns:
        return "it was written to (its modification time is another)"
    return None
