"""What an error of the file system says about the file system itself, whatever was being read or written."""

from __future__ import annotations

import errno

from draftbridge.bridge.errors import BridgeError

_GONE = frozenset(
    getattr(errno, name)
    for name in (
        "EIO",
        "ENOTCONN",
        "ESTALE",
        "ESHUTDOWN",
        "ETIMEDOUT",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ECONNABORTED",
        "ECONNREFUSED",
        "ECONNRESET",
        "EREMOTEIO",
        "ENODEV",
        "ENXIO",
        "ENOLINK",
    )
    if hasattr(errno, name)
)
"""What a mount answers that is gone or cannot reach its server. It says nothing about the file that was asked for."""

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
_STORE_CODES = ("STORE_UNAVAILABLE", "STORE_FULL")


def storage_failure(exc: BaseException) -> BridgeError | None:
    """`exc` as the failure of a file system; None when it is none, or says so already.

    That a mount is gone is said also of an error that was made of it: the file of which somebody says that it is
    damaged could only not be read.
    """
    if isinstance(exc, BridgeError) and exc.code in _STORE_CODES:
        return None
    cause = _os_error(exc)
    if cause is None:
        return None
    found = f"{errno.errorcode.get(cause.errno or 0, 'error')}: {cause.strerror}"
    file = str(cause.filename) if cause.filename else _file_of(exc)
    if cause.errno in _GONE:
        fix = "check that the file system is mounted and answers, then run the same command again"
        return BridgeError("STORE_UNAVAILABLE", "a file cannot be reached", file=file, found=found, fix=fix)
    if cause is exc and cause.errno in _FULL:
        fix = "free space or raise the quota, then run the same command again"
        return BridgeError("STORE_FULL", "there is no space left for a file", file=file, found=found, fix=fix)
    return None


def _os_error(exc: BaseException | None) -> OSError | None:
    """The error of the file system that `exc` is or was raised from. Libraries raise OSError without a number, too."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno is not None:
            return exc
        exc = exc.__cause__
    return None


def _file_of(exc: BaseException) -> str | None:
    return exc.details.get("file") if isinstance(exc, BridgeError) else None
