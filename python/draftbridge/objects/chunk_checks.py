"""One check per chunk of a tensor, so that a part can be read and verified alone. Which kind depends on the store's
key: a hash (none), a tag nobody can make without the key (mac), or a tag on the chunk's ciphertext (seal)."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import xxhash
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import AEADDecryptionContext, Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from draftbridge.bridge.errors import BridgeError
from draftbridge.keys.store_key import StoreKey
from draftbridge.objects.object_header import Auth, Header

CHUNK = 1 << 20
"""Bytes per chunk of new objects: large enough that the cost per chunk does not matter."""
STEP = 1 << 19
"""Bytes that are read and then hashed at a time: they stay in a core's own cache, and threads seldom wait for the
interpreter's lock."""


class Hasher(Protocol):
    def update(self, data: memoryview, /) -> None: ...


class Opening(NamedTuple):
    """A chunk that is being read and checked."""

    update: Callable[[memoryview], object]
    """Call it with all bytes of the chunk, in order. In a sealed object it decrypts them in place."""
    good: Callable[[], bool]
    """Call it at the end: whether the bytes are those that were written. Until then they must not be used."""


class ChunkChecks(Protocol):
    """The checks of one object. `index` is the tensor's number in it, `chunk` the chunk's number in the tensor."""

    def close(self, data: memoryview, index: int, chunk: int, digest: Hasher) -> tuple[memoryview, bytes]:
        """Returns the bytes to store for `data`, which are valid until the next call, and their check. Also passes the
        plain bytes to `digest`."""

    def open(self, index: int, chunk: int, check: bytes) -> Opening:
        """Begins to read a chunk whose check is `check`."""


class _Hashes:
    def close(self, data: memoryview, index: int, chunk: int, digest: Hasher) -> tuple[memoryview, bytes]:
        own = xxhash.xxh3_64()
        for part in _steps(data):
            own.update(part)
            digest.update(part)
        return data, own.digest()

    def open(self, index: int, chunk: int, check: bytes) -> Opening:
        hasher = xxhash.xxh3_64()
        return Opening(hasher.update, lambda: bool(hasher.digest() == check))


class _Tags:
    def __init__(self, key: bytes) -> None:
        self._cipher = AES(key)

    def close(self, data: memoryview, index: int, chunk: int, digest: Hasher) -> tuple[memoryview, bytes]:
        encryptor = Cipher(self._cipher, GCM(_nonce(index, chunk))).encryptor()
        for part in _steps(data):
            encryptor.authenticate_additional_data(part)
            digest.update(part)
        encryptor.finalize()
        return data, encryptor.tag

    def open(self, index: int, chunk: int, check: bytes) -> Opening:
        decryptor = Cipher(self._cipher, GCM(_nonce(index, chunk), check)).decryptor()
        return Opening(decryptor.authenticate_additional_data, lambda: _ends_well(decryptor))


class _Seals:
    def __init__(self, key: bytes) -> None:
        self._cipher = AES(key)
        self._buffer = bytearray()

    def close(self, data: memoryview, index: int, chunk: int, digest: Hasher) -> tuple[memoryview, bytes]:
        if len(self._buffer) < len(data):
            self._buffer = bytearray(len(data))
        sealed = memoryview(self._buffer)[: len(data)]
        encryptor = Cipher(self._cipher, GCM(_nonce(index, chunk))).encryptor()
        for part, target in zip(_steps(data), _steps(sealed), strict=True):
            digest.update(part)
            encryptor.update_into(part, target)
        encryptor.finalize()
        return sealed, encryptor.tag

    def open(self, index: int, chunk: int, check: bytes) -> Opening:
        decryptor = Cipher(self._cipher, GCM(_nonce(index, chunk), check)).decryptor()
        return Opening(lambda data: decryptor.update_into(data, data), lambda: _ends_well(decryptor))


def _ends_well(decryptor: AEADDecryptionContext) -> bool:
    try:
        decryptor.finalize()
    except InvalidTag:
        return False
    return True


def checks_for(auth: Auth, key: StoreKey | None, salt: bytes) -> ChunkChecks:
    """`salt` is random for each object, so the chunk key is new too, and each nonce is used once under it."""
    if key is None:
        return _Hashes()
    chunk_key = key.chunk_key(salt)
    return _Seals(chunk_key) if auth == "seal" else _Tags(chunk_key)


def accepted_key(file: str, header: Header, key: StoreKey | None) -> StoreKey | None:
    """The key that the header was written with, after its mac was verified; None in a store without a key.

    Raises STORE_AUTH for an object under another key, SAMPLE_CORRUPT for one that is not authentic.
    """
    if key is None and header.auth == "none":
        return None
    known = [] if key is None else [each.id for each in (key, key.previous) if each is not None]
    if header.auth != "none" and header.key_id not in known:
        fix = (
            "if the store was given a new key, start again with that one; otherwise somebody without the key wrote"
            " this file: run `draftbridge store verify`"
        )
        found = f"key {header.key_id}; this process has {' and '.join(known) or 'none'}"
        raise BridgeError("STORE_AUTH", "this sample is under another key", file=file, found=found, fix=fix)
    good = None if key is None or header.auth != key.mode else key.signer_of("header", unsigned(header), header.mac)
    if good is None or not hmac.compare_digest(good.id, header.key_id):
        found = "no mac of this store's key" if header.auth == "none" else "a mac that is not of these bytes"
        raise BridgeError(
            "SAMPLE_CORRUPT",
            "this stored sample was not written by a holder of the store's key, or was altered",
            file=file,
            field="__metadata__.mac",
            found=found,
            fix="find out who can write to the store, then remove the file and run the producer again",
        )
    return good


def unsigned(header: Header) -> bytes:
    """The header's bytes that the mac is computed over: with zeros in place of the mac. Empty unless the mac is in them
    exactly once."""
    stated = f'"mac":"{header.mac}"'.encode()
    return header.raw.replace(stated, zeroed(stated)) if header.raw.count(stated) == 1 else b""


def zeroed(stated: bytes) -> bytes:
    return b'"mac":"hmac_sha256:' + b"0" * (len(stated) - 20) + b'"'


def _steps(data: memoryview) -> Iterator[memoryview]:
    return (data[at : at + STEP] for at in range(0, len(data), STEP))


def _nonce(index: int, chunk: int) -> bytes:
    return index.to_bytes(4, "big") + chunk.to_bytes(8, "big")
