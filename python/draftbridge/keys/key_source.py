"""Reads a store's secret from a key file or the environment. The secret never appears in a message."""

from __future__ import annotations

import base64
import hmac
import os
import re
import stat

from draftbridge.bridge.errors import BridgeError
from draftbridge.files.positioned import bytes_at

SECRET_BYTES = 32
# 64 hex digits or base64, and a line end. A longer file is not a key file.
_MAX_FILE = 128
_MAKE_ONE = "make one with: (umask 077; openssl rand -hex 32 > FILE)"


def secret_from(file: str | None, env: str | None) -> bytes:
    """The 32 secret bytes from the file or from the environment variable `env`. If both are given, they must be equal.

    Raises BridgeError STORE_AUTH if there is no valid secret, CONFIG_INVALID if the two differ.
    """
    given = os.environ.get(env, "") if env is not None else ""
    if file is None and not given:
        fix = "name the key file in store.auth.keyFile" + (f", or set {env}" if env else "")
        raise BridgeError("STORE_AUTH", "the store needs a key, and none is given", field="store.auth.keyFile", fix=fix)
    from_env = _from_text(given.encode("utf-8", "surrogateescape"), field=env) if given else b""
    from_file = _from_file(file) if file is not None else b""
    if from_env and from_file and not hmac.compare_digest(from_env, from_file):
        fix = f"unset {env} or remove store.auth.keyFile, so that one key is left"
        found = f"another key than the one in {env}"
        raise BridgeError("CONFIG_INVALID", "two different store keys are given", file=file, found=found, fix=fix)
    return from_file or from_env


def _from_file(file: str) -> bytes:
    try:
        # O_NOFOLLOW: a link can be changed to name another key. O_NONBLOCK: opening a pipe would block forever.
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _key_error(file, "the key file does not exist", "no such file", _MAKE_ONE) from None
    except OSError as exc:
        if stat.S_ISLNK(_mode_of(file)):
            fix = "give the path of the file itself"
            raise _key_error(file, "the key file is a symbolic link", "a symbolic link", fix) from None
        fix = "make it readable for the user that runs draftbridge, and for no other user"
        raise _key_error(file, "the key file cannot be read", exc.strerror or "an error", fix) from None
    try:
        _expect_private(file, os.fstat(fd))
        raw = bytes_at(fd, _MAX_FILE + 1, 0)
        return _expect_strong(raw, file=file) if len(raw) == SECRET_BYTES else _from_text(raw, file=file)
    finally:
        os.close(fd)


def _mode_of(file: str) -> int:
    try:
        return os.lstat(file).st_mode
    except OSError:
        return 0


def _expect_private(file: str, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        found = "a directory" if stat.S_ISDIR(info.st_mode) else "something else"
        raise _key_error(file, "the key file is not a regular file", found, "give the path of the key file itself")
    if info.st_uid not in (os.geteuid(), 0):
        fix = "take ownership of it, or make a key file of your own"
        raise _key_error(file, "the key file belongs to another user", f"owner {info.st_uid}", fix)
    mode = stat.S_IMODE(info.st_mode)
    if mode not in (0o600, 0o400):
        fix = f"chmod 600 {file}; if others may have read it, make a new key and run `draftbridge store rekey`"
        raise _key_error(file, "other users can access the key file", f"mode {mode:04o}", fix)
    if not 0 < info.st_size <= _MAX_FILE:
        raise _key_error(file, "the file does not contain a store key", f"{info.st_size} bytes", _MAKE_ONE)


def _from_text(raw: bytes, *, file: str | None = None, field: str | None = None) -> bytes:
    text = raw.strip()
    secret = b""
    if re.fullmatch(rb"[0-9a-fA-F]{64}", text):
        secret = bytes.fromhex(text.decode("ascii"))
    elif re.fullmatch(rb"[A-Za-z0-9+/]{43}=?|[A-Za-z0-9_-]{43}=?", text):
        secret = base64.urlsafe_b64decode(text.rstrip(b"=").translate(bytes.maketrans(b"+/", b"-_")) + b"=")
    if len(secret) == SECRET_BYTES:
        return _expect_strong(secret, file=file, field=field)
    found = f"{len(raw)} bytes that are neither 64 hex digits nor base64 of {SECRET_BYTES} bytes"
    raise _key_error(file, "this is not a store key", found, _MAKE_ONE, field)


def _expect_strong(secret: bytes, *, file: str | None = None, field: str | None = None) -> bytes:
    # A wiped or preallocated file, or a placeholder, would be a key that is easy to guess.
    if len(set(secret)) < 4:
        raise _key_error(file, "this is not a store key", "fewer than 4 different byte values", _MAKE_ONE, field)
    return secret


def _key_error(file: str | None, what: str, found: str, fix: str, field: str | None = None) -> BridgeError:
    return BridgeError("STORE_AUTH", what, file=file, field=field, found=found, fix=fix)
