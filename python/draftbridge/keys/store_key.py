"""The key of a store: the keys that are derived from its secret, and the ops for Node, which only has a handle.

HKDF-SHA256 derives each key from the secret, the store's salt, and a text with the mode, the store id and the purpose.
So a signature from one store, mode or purpose is not valid in another.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE
from draftbridge.bridge.registry import Payload, op
from draftbridge.keys.key_source import secret_from

Mode = Literal["mac", "seal"]
Purpose = Literal["header", "manifest"]
_PREFIX = "hmac_sha256:"
_NONCE = 12


class StoreKey:
    """The keys of one store. `previous` is the old key while `store rekey` runs, otherwise None."""

    __slots__ = ("_about", "_mac_keys", "_salt", "_secret", "_store_id", "check", "id", "mode", "previous")

    def __init__(self, secret: bytes, *, mode: Mode, store_id: str, salt: bytes) -> None:
        self.mode: Mode = mode
        self.previous: StoreKey | None = None
        self._secret = secret
        self._store_id = store_id
        self._salt = salt
        self._about = f"draftbridge/1/{mode}/{store_id}/"
        purposes: tuple[Purpose, ...] = ("header", "manifest")
        self._mac_keys = {purpose: self._derive(f"sign {purpose}") for purpose in purposes}
        self.check = self._derive("check", length=16).hex()
        self.id = self._derive("id", length=4).hex()

    def sign(self, purpose: Purpose, data: bytes) -> str:
        return _PREFIX + hmac.new(self._mac_keys[purpose], data, hashlib.sha256).hexdigest()

    def signer_of(self, purpose: Purpose, data: bytes, mac: str) -> StoreKey | None:
        """The key whose signature of `data` is `mac`: this key or the previous one. None if neither signed it."""
        for key in (self, self.previous):
            if key is not None and hmac.compare_digest(key.sign(purpose, data).encode(), mac.encode()):
                return key
        return None

    def chunk_key(self, object_salt: bytes) -> bytes:
        """The AES-256-GCM key for the chunks of one object. Each object has a new salt, so nonces can be counters."""
        return self._derive("chunks", salt=self._salt + object_salt)

    def mask(self, object_salt: bytes, name: str) -> int:
        """64 bits that mask the digest of one tensor of one object."""
        return int.from_bytes(self._derive(f"mask {name}", salt=self._salt + object_salt, length=8), "big")

    def wrap(self, other: StoreKey) -> bytes:
        """The secret of `other`, encrypted under this key."""
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._derive("wrap")).encrypt(nonce, other._secret, other._context())

    def join_previous(self, salt: bytes, wrapped: bytes) -> None:
        """Also accept data under the key that `wrap` encrypted. Raises STORE_AUTH if it cannot be decrypted."""
        context = self._about.encode() + salt
        try:
            secret = AESGCM(self._derive("wrap")).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], context)
        except (InvalidTag, ValueError):
            what = "the old key in store.json was not encrypted under the new key"
            raise BridgeError("STORE_AUTH", what, field="auth.rekey", fix="restore store.json from a backup") from None
        self.previous = StoreKey(secret, mode=self.mode, store_id=self._store_id, salt=salt)

    def close(self) -> None:
        """Drops the references to the secrets. Python cannot overwrite their memory."""
        self._secret = b""
        self._mac_keys = {}
        self.previous = None

    def _context(self) -> bytes:
        return self._about.encode() + self._salt

    def _derive(self, purpose: str, *, salt: bytes | None = None, length: int = 32) -> bytes:
        kdf = HKDF(SHA256(), length, self._salt if salt is None else salt, (self._about + purpose).encode())
        return kdf.derive(self._secret)


def key_of(handle: int | None) -> StoreKey | None:
    return None if handle is None else TABLE.borrow(handle, StoreKey)


@op("key.open", "io")
def _open(payload: Payload) -> Payload:
    source = payload["source"]
    secret = secret_from(source["file"], source["env"])
    key = StoreKey(secret, mode=payload["mode"], store_id=payload["storeId"], salt=bytes.fromhex(payload["salt"]))
    return {"handle": TABLE.mint(key), "check": key.check, "keyId": key.id}


@op("key.mac", "io")
def _mac(payload: Payload) -> Payload:
    return {"mac": TABLE.borrow(payload["key"], StoreKey).sign("manifest", payload["text"].encode())}


@op("key.verify", "io")
def _verify(payload: Payload) -> Payload:
    key = TABLE.borrow(payload["key"], StoreKey)
    return {"ok": key.signer_of("manifest", payload["text"].encode(), payload["mac"]) is not None}


@op("key.wrap", "io")
def _wrap(payload: Payload) -> Payload:
    key, other = TABLE.borrow(payload["key"], StoreKey), TABLE.borrow(payload["other"], StoreKey)
    return {"wrapped": key.wrap(other).hex()}


@op("key.join", "io")
def _join(payload: Payload) -> Payload:
    key = TABLE.borrow(payload["key"], StoreKey)
    key.join_previous(bytes.fromhex(payload["salt"]), bytes.fromhex(payload["wrapped"]))
    return {}
