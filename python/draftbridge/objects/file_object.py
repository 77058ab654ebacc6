"""Objects that are files in a store's directory. Others can write there too, so a file may be anything."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from dataclasses import dataclass

from draftbridge.files.plain import NotPlain, open_plain
from draftbridge.files.positioned import close_read
from draftbridge.objects.byte_source import FileSource
from draftbridge.objects.object_errors import corrupt, not_plain
from draftbridge.objects.object_header import Extern

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class FileObject:
    """The object in the file `name`, which is `<store>/objects/<2 hex>/<file>`."""

    name: str

    def open(self, stack: ExitStack) -> FileSource | None:
        """The folder that the file is in and the one above must be plain: anyone who can write to the mount can plant a
        link at any time."""
        try:
            fd = _open_inside(self.name)
        except FileNotFoundError:
            return None
        except NotPlain as exc:
            raise corrupt(self.name, "file", exc.found) from exc
        stack.callback(close_read, fd)
        return FileSource.of(self.name, fd)

    def open_extern(self, extern: Extern, stack: ExitStack) -> FileSource | None:
        # A relative path counts from the store's directory.
        file = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(self.name))), extern.file)
        fix = "put the file back as it was, or remove the sample and run the producer again"
        try:
            source = open_source(file, stack)
        except FileNotFoundError:
            if not os.path.lexists(self.name):
                return None
            raise corrupt(file, "file", "no such file, and tensors of a sample lie in it", fix=fix) from None
        found = changed(source, extern.size, extern.mtime_ns)
        if found is not None:
            raise corrupt(file, "file", f"{found} since the sample was put", fix=fix)
        return source


def open_source(file: str, stack: ExitStack) -> FileSource:
    """The file, which `stack` closes. Raises SAMPLE_CORRUPT for what is no regular file."""
    try:
        fd = open_plain(file)
    except NotPlain as exc:
        raise corrupt(file, "file", exc.found) from exc
    stack.callback(close_read, fd)
    return FileSource.of(file, fd)


def changed(source: FileSource, size: int, mtime_ns: int) -> str | None:
    """In words, how the file differs from what it was; None when it does not."""
    info = os.fstat(source.fd)
    if info.st_size != size:
        return f"its size went from {size} to {info.st_size}"
    if info.st_mtime_ns != mtime_ns:
        return "it was written to (its modification time is another)"
    return None


def _open_inside(path: str) -> int:
    folder, name = os.path.split(path)
    above, part = os.path.split(folder)
    opened: list[int] = []
    try:
        opened.append(_open_folder(above, above, None))
        opened.append(_open_folder(folder, part, opened[0]))
        return open_plain(name, dir_fd=opened[1])
    finally:
        for fd in opened:
            close_read(fd)


def _open_folder(folder: str, name: str, above: int | None) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=above)
    except OSError as exc:
        if exc.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise not_plain(folder) from exc
