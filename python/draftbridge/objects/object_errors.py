"""How a damaged object and a store that cannot be reached are reported."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

from draftbridge.bridge.errors import BridgeError

_T = TypeVar("_T")

_MAKE_AGAIN = "remove the file, then run the producer again: it makes only the missing samples"


def corrupt(file: str, field: str, found: str, *, fix: str = _MAKE_AGAIN) -> BridgeError:
    what = "this stored sample is damaged, or not one of ours"
    return BridgeError("SAMPLE_CORRUPT", what, file=file, field=field, found=found, fix=fix)


def not_plain(folder: str) -> BridgeError:
    what = "a directory of the store is not a plain directory"
    fix = "find out who put it there (only draftbridge should write here), and put a plain directory in its place"
    found = "a symbolic link" if os.path.islink(folder) else "something else"
    return BridgeError("STORE_UNAVAILABLE", what, file=folder, found=found, fix=fix)


def storage_error(path: str, exc: OSError) -> BridgeError:
    found = f"{errno.errorcode.get(exc.errno or 0, 'error')}: {exc.strerror}"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = "free space or raise the quota, then run again: what is stored stays usable"
        return BridgeError("STORE_FULL", "there is no room left in the store", file=path, found=found, fix=fix)
    fix = "check that the directory is mounted, writable and owned by this user"
    return BridgeError("STORE_UNAVAILABLE", "the store cannot be reached", file=path, found=found, fix=fix)


class EndedEarly(OSError):
    """A read stopped before the end of the file as it was when it was opened. Nobody writes to a stored object, so the
    storage failed and not the sample."""

    def __init__(self, found: str) -> None:
        super().__init__(errno.EIO, f"the read ended early: {found}")


def asked_again(read: Callable[[], _T]) -> _T:
    """Call `read` a second time after ESTALE or a read that ended early. Opening the object anew asks the server what
    its name stands for now, so one that was freed meanwhile is not found, which is no error."""
    try:
        return read()
    except OSError as exc:
        if exc.errno != errno.ESTALE and not isinstance(exc, EndedEarly):
            raise
    return read()
