"""One check per chunk of a tensor, so that a part can be read and verified alone. Which kind depends on the store's
key: a hash (none), a tag nobody can make without the key (mac), or a tag on the chunk's ciphertext (seal)."""

from __future__ import annotations

import hmac
from typing import Protocol

import xxhash
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from draftbridge.errors import BridgeError
from draftbridge.object_header import Auth, Header
from draftbridge.store_key import StoreKey

CHUNK = 1 << 20
"""What new objects are written with: small enough to stay in a core's cache between reading and checking, large enough
that what is done once per chunk does not count."""


class ChunkChecks(Protocol):
    """The checks of one object. `index` is the tensor's number in it, `chunk` the chunk's number in the tensor."""

    def close(self, data: memoryview, index: int, chunk: int) -> tuple[memoryview, bytes]:
        """What goes to the file for `data`, and its check. The first is good until the next call."""

    def open(self, data: memoryview, index: int, chunk: int, check: bytes) -> bool:
        """Whether `data`, as it came from the file, is what was closed; it holds the plain bytes afterwards."""


class _Hashes:
    def close(self, data: memoryview, index: int, chunk: int) -> tuple[memoryview, bytes]:
        return data, xxhash.xxh3_64_digest(data)

    def open(self, data: memoryview, index: int, chunk: int, check: bytes) -> bool:
        return xxhash.xxh3_64_digest(data) == check


class _Tags:
    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def close(self, data: memoryview, index: int, chunk: int) -> tuple[memoryview, bytes]:
        return data, self._aead.encrypt(_nonce(index, chunk), b"", data)

    def open(self, data: memoryview, index: int, chunk: int, check: bytes) -> bool:
        try:
            self._aead.decrypt(_nonce(index, chunk), check, data)
        except InvalidTag:
            return False
        return True


class _Seals:
    def __init__(self, key: bytes) -> None:
        self._cipher = AES(key)
        self._room = bytearray()

    def close(self, data: memoryview, index: int, chunk: int) -> tuple[memoryview, bytes]:
        if len(self._room) < len(data):
            self._room = bytearray(len(data))
        sealed = memoryview(self._room)[: len(data)]
        encryptor = Cipher(self._cipher, GCM(_nonce(index, chunk))).encryptor()
        encryptor.update_into(data, sealed)
        encryptor.finalize()
        return sealed, encryptor.tag

    def open(self, data: memoryview, index: int, chunk: int, check: bytes) -> bool:
        decryptor = Cipher(self._cipher, GCM(_nonce(index, chunk), check)).decryptor()
        decryptor.update_into(data, data)
        try:
            decryptor.finalize()
        except InvalidTag:
            return False
        return True


def checks_for(auth: Auth, key: StoreKey | None, salt: bytes) -> ChunkChecks:
    """`salt` is new in every object that is written, so the key below is too, and a nonce is used under it once."""
    if key is None:
        return _Hashes()
    chunk_key = key.chunk_key(salt)
    return _Seals(chunk_key) if auth == "seal" else _Tags(chunk_key)


def accepted_key(file: str, header: Header, key: StoreKey | None) -> StoreKey | None:
    """The key that the header was made with, once its mac was found good; null in a store without one.

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
    good = None if key is None or header.auth != key.mode else key.accepting("header", unsigned(header), header.mac)
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
    """The header's bytes as the mac is over them: its own digits are zeros. Empty when they do not stand there once."""
    stated = f'"mac":"{header.mac}"'.encode()
    return header.raw.replace(stated, zeroed(stated)) if header.raw.count(stated) == 1 else b""


def zeroed(stated: bytes) -> bytes:
    return b'"mac":"hmac_sha256:' + b"0" * (len(stated) - 20) + b'"'


def _nonce(index: int, chunk: int) -> bytes:
    return index.to_bytes(4, "big") + chunk.to_bytes(8, "big")
