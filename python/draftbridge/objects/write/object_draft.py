"""An object that is being written: every tensor is read once, and its digest and checks are made on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

import xxhash

from draftbridge.bridge.errors import BridgeError
from draftbridge.keys.store_key import StoreKey
from draftbridge.objects.chunk_checks import CHUNK, ChunkChecks, checks_for, zeroed
from draftbridge.objects.object_header import CHECK_WIDTH, CHUNKS, DIGEST, SALT_BYTES, Auth, Extern, chunk_count
from draftbridge.objects.safetensors_header import MAX_HEADER, Entry, encode
from draftbridge.objects.write.byte_sink import ByteSink


class Sliced(Protocol):
    """Bytes that are read when they are sliced. A slice is valid until the next one is taken."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> memoryview: ...


class ObjectDraft:
    """One object. `reserve`, then `put` for each tensor, then `finish`, which writes the header: its size is known from
    the start because every digest, check and mac has a fixed width."""

    def __init__(
        self,
        entries: list[Entry],
        metadata: Mapping[str, str],
        key: StoreKey | None,
        extern: Extern | None,
        carried: Mapping[str, str] | None = None,
    ) -> None:
        self.entries = entries
        self.digests: dict[str, str] = {}
        self._carried = carried
        self._metadata = metadata
        self._key = key
        self._extern = extern
        self._auth: Auth = "none" if key is None else key.mode
        self._salt = b"" if key is None else os.urandom(SALT_BYTES)
        self._checks: dict[str, bytes] = {}
        self._chunks: ChunkChecks = checks_for(self._auth, key, self._salt)
        outside = {} if extern is None else extern.entries
        self._all = {**{entry.name: entry for entry in self.entries}, **outside}
        self._index = {name: index for index, name in enumerate(sorted(self._all))}
        self._head = 0

    def reserve(self) -> None:
        """Fix the size of the header. Raises FEATURE_INVALID when it would be longer than a reader accepts."""
        width = CHECK_WIDTH[self._auth]
        blank = {name: bytes(chunk_count(e.end - e.start, CHUNK) * width) for name, e in self._all.items()}
        head = encode(self.entries, self._texts(dict.fromkeys(self._all, "xxh3_64:" + "0" * 16), blank))
        if len(head) - 8 > MAX_HEADER:
            raise BridgeError("FEATURE_INVALID", "the sample's metadata is too long to store", found=f"{len(head)}")
        self._head = len(head)

    def put(self, name: str, data: memoryview | Sliced, sink: ByteSink | None) -> None:
        """Keep a tensor's digest and checks, and write it to `sink`; None for one that lies outside the object."""
        offset = self._head + self._all[name].start
        hasher = xxhash.xxh3_64()
        checks = bytearray()
        for chunk, at in enumerate(range(0, len(data), CHUNK)):
            piece = data[at : at + CHUNK]
            stored, check = self._chunks.close(piece, self._index[name], chunk, hasher)
            checks += check
            if sink is not None:
                sink.write(stored, offset + at)
        self._checks[name] = bytes(checks)
        self.digests[name] = self._shown(name, hasher.intdigest()) if self._carried is None else self._carried[name]

    def finish(self, sink: ByteSink) -> int:
        """Write the header. Returns the size of the object in bytes."""
        head = encode(self.entries, self._texts(self.digests, self._checks))
        assert len(head) == self._head
        if self._key is not None:
            blank = zeroed(b'"mac":"hmac_sha256:' + b"0" * 64 + b'"')
            head = head.replace(blank, f'"mac":"{self._key.sign("header", head)}"'.encode())
        sink.write(memoryview(head), 0)
        return len(head) + (self.entries[-1].end if self.entries else 0)

    # An unmasked digest in a sealed store would confirm a guess of a tensor's content.
    def _shown(self, name: str, digest_of_bytes: int) -> str:
        mask = self._key.mask(self._salt, name) if self._key is not None and self._auth == "seal" else 0
        return f"xxh3_64:{digest_of_bytes ^ mask:016x}"

    def _texts(self, digests: Mapping[str, str], checks: Mapping[str, bytes]) -> dict[str, str]:
        texts = {**self._metadata, "chunk_bytes": str(CHUNK)}
        for name in self._all:
            texts[DIGEST + name] = digests[name]
            texts[CHUNKS + name] = checks[name].hex()
        if self._extern is not None:
            texts["extern"] = self._extern.text()
        if self._key is not None:
            keyed = {"auth": self._auth, "key_id": self._key.id, "object_salt": self._salt.hex()}
            texts = {**texts, **keyed, "mac": "hmac_sha256:" + "0" * 64}
        return texts
