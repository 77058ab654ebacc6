"""How a damaged object and a store that cannot be reached are reported."""

from __future__ import annotations

import errno
import os

from draftbridge.bridge.errors import BridgeError

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
