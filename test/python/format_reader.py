"""Reads a stored object as docs/format.md says it can be read. Written from that page alone: nothing of draftbridge is
imported, so that the page cannot drift away from the program unnoticed."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import struct
from typing import Any

import xxhash
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def hkdf(secret: bytes, salt: bytes, info: str, length: int) -> bytes:
    """RFC 5869 with SHA-256; one block is enough for what is derived here."""
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info.encode() + b"\1", hashlib.sha256).digest()[:length]


def read(path: str, store: dict[str, Any], secret: bytes | None = None) -> dict[str, bytes]:
    """The bytes of every tensor. ValueError or InvalidTag for what is not exactly as a holder of the key wrote it."""
    with open(path, "rb") as file:
        whole = file.read()
    length = struct.unpack("<Q", whole[:8])[0]
    raw, data = whole[: 8 + length], whole[8 + length :]
    head = json.loads(raw[8:])
    about = head.pop("__metadata__")
    if about["store_id"] != store["storeId"]:
        raise ValueError("of another store")
    keys = Keys(store, secret, about, raw)
    places = {name: (data, *entry["data_offsets"]) for name, entry in head.items()}
    places |= elsewhere(path, json.loads(about["extern"])) if "extern" in about else {}
    found = {}
    for index, name in enumerate(sorted(places)):
        source, start, end = places[name]
        size, stated = int(about["chunk_bytes"]), bytes.fromhex(about[f"chunks.{name}"])
        width = 8 if keys.mode == "none" else 16
        found[name] = b"".join(
            keys.opened(source[at : min(end, at + size)], stated[n * width : (n + 1) * width], index, n)
            for n, at in enumerate(range(start, end, size))
        )
        digest = xxhash.xxh3_64_intdigest(found[name]) ^ keys.mask(name)
        if about[f"digest.{name}"] != f"xxh3_64:{digest:016x}":
            raise ValueError(f"the digest of {name}")
    return found


def elsewhere(path: str, extern: dict[str, Any]) -> dict[str, tuple[bytes, int, int]]:
    with open(os.path.join(os.path.dirname(path), "..", "..", extern["file"]), "rb") as file:
        outside = file.read()
    places = {}
    for name, entry in extern["tensors"].items():
        size = WIDTHS[entry["dtype"]]
        for width in entry["shape"]:
            size *= width
        places[name] = (outside, entry["offset"], entry["offset"] + size)
    return places


class Keys:
    def __init__(self, store: dict[str, Any], secret: bytes | None, about: dict[str, str], raw: bytes) -> None:
        self.mode = store["auth"]["mode"]
        if self.mode == "none":
            return
        self._secret = secret or b""
        self._prefix = f"draftbridge/1/{self.mode}/{store['storeId']}/"
        salt = bytes.fromhex(store["auth"]["salt"])
        self._salt = salt + bytes.fromhex(about["object_salt"])
        if hkdf(self._secret, salt, self._prefix + "check", 16).hex() != store["auth"]["check"]:
            raise ValueError("the wrong key")
        blank = raw.replace(about["mac"].encode(), b"hmac_sha256:" + b"0" * 64)
        key = hkdf(self._secret, salt, self._prefix + "sign header", 32)
        mac = "hmac_sha256:" + hmac.new(key, blank, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mac, about["mac"]):
            raise ValueError("the mac is not of this header")
        self._chunks = AESGCM(hkdf(self._secret, self._salt, self._prefix + "chunks", 32))

    def opened(self, chunk: bytes, check: bytes, index: int, number: int) -> bytes:
        nonce = struct.pack(">IQ", index, number)
        if self.mode == "none" and xxhash.xxh3_64_digest(chunk) != check:
            raise ValueError(f"tensor {index}, chunk {number}")
        if self.mode == "mac":
            self._chunks.decrypt(nonce, check, chunk)
        return self._chunks.decrypt(nonce, chunk + check, None) if self.mode == "seal" else chunk

    def mask(self, name: str) -> int:
        if self.mode != "seal":
            return 0
        return int.from_bytes(hkdf(self._secret, self._salt, f"{self._prefix}mask {name}", 8), "big")
