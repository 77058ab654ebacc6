"""Finds the file offset that an address of this process is mapped from, in /proc/self/maps (proc_pid_maps(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

Mapped = Callable[[int], int | None]
"""Maps an address to an offset in the file; None if the address is not in a mapping of the file."""

_MAPS = "/proc/self/maps"


def mapped_places(file: str, fd: int) -> Mapped | None:
    """The mapping of `file`, whose open descriptor is `fd`. None if the kernel lists no mapping of it."""
    try:
        with open(_MAPS, "rb") as stream:
            maps = stream.read()
    except OSError:
        return None
    path = os.fsencode(os.path.realpath(file))
    line = rb"^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ %d +%s$" % (os.fstat(fd).st_ino, re.escape(path))
    ranges = [tuple(int(part, 16) for part in found.groups()) for found in re.finditer(line, maps, re.MULTILINE)]
    if not ranges:
        return None
    return lambda address: next((at + address - start for start, end, at in ranges if start <= address < end), None)
