"""Complete reads and writes at a file offset: a single call to the kernel may transfer only a part."""

from __future__ import annotations

import errno
import os


def read_at(fd: int, into: memoryview, offset: int) -> int:
    """Fill `into` (bytes) from `offset` on. Returns the bytes read: fewer than asked only at the end of the file."""
    done = 0
    while done < len(into):
        got = os.preadv(fd, [into[done:] if done else into], offset + done)
        if got == 0:
            break
        done += got
    return done


def close_read(fd: int) -> None:
    """Close a file that was only read. An error of the close says nothing of the bytes: there a network file system
    reports what became of a write, or that another machine has removed the file meanwhile."""
    try:
        os.close(fd)
    except OSError as exc:
        # A descriptor that is not open is a bug.
        if exc.errno == errno.EBADF:
            raise


def bytes_at(fd: int, size: int, offset: int) -> bytes:
    """`size` bytes from `offset` on; fewer only at the end of the file."""
    found = os.pread(fd, size, offset)
    while len(found) < size and (more := os.pread(fd, size - len(found), offset + len(found))):
        found += more
    return found


def write_at(fd: int, data: memoryview, offset: int) -> None:
    """Write all of `data` (bytes) from `offset` on."""
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)
