"""Opens files in folders that others can write to. There, a link, a pipe or a device may lie in the place of a file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from draftbridge.files.positioned import bytes_at, close_read

# A planted link is not followed, and a planted pipe is not waited for.
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# The largest file that is read as one text: as in src/core/files/plain-file.ts.
MAX_TEXT_BYTES = 64 << 20


class NotPlain(OSError):
    """Something else is there than a regular file, or a file too large to be the wanted one. `found` says what."""

    def __init__(self, file: str | Path, found: str) -> None:
        super().__init__(errno.EINVAL, found, str(file))
        self.found = found

    def __str__(self) -> str:
        return self.found


def open_plain(file: str | Path, flags: int = os.O_RDONLY, *, follow: bool = False, dir_fd: int | None = None) -> int:
    """A descriptor of a regular file. `follow`: the user named the file, and may name a link.

    Raises NotPlain, or another OSError of the file system."""
    try:
        fd = os.open(file, flags | (_PLAIN & ~os.O_NOFOLLOW if follow else _PLAIN), 0o666, dir_fd=dir_fd)
    except OSError as exc:
        found = {errno.ELOOP: "a symbolic link", errno.ENXIO: "a socket, or a pipe", errno.EISDIR: "a folder"}
        if exc.errno in found:
            raise NotPlain(file, found[exc.errno]) from exc
        raise
    found_kind = kind_of(os.fstat(fd).st_mode)
    if found_kind is None:
        return fd
    os.close(fd)
    raise NotPlain(file, found_kind)


def kind_of(mode: int) -> str | None:
    """What a file that is no regular one is, in words; None for a regular one."""
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def read_text(file: str | Path, *, follow: bool = False) -> str:
    """The text of a file of at most MAX_TEXT_BYTES. Raises as `open_plain`, NotPlain too for a larger file, and
    UnicodeDecodeError."""
    with opened(file, follow=follow) as fd:
        size = os.fstat(fd).st_size
        if size > MAX_TEXT_BYTES:
            raise NotPlain(file, f"{size} bytes, of which at most {MAX_TEXT_BYTES} make sense here")
        return bytes_at(fd, size, 0).decode()


@contextmanager
def opened(file: str | Path, *, follow: bool = False) -> Iterator[int]:
    fd = open_plain(file, follow=follow)
    try:
        yield fd
    finally:
        close_read(fd)


@contextmanager
def path_of(file: str | Path, *, follow: bool = False) -> Iterator[str]:
    """A path of the file that was checked, for libraries that open by path: another one may be put there meanwhile."""
    with opened(file, follow=follow) as fd:
        yield f"/dev/fd/{fd}"
