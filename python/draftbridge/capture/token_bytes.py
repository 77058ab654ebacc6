"""The bytes that each token of a vocabulary stands for, looked up once for each token."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_UNKNOWN = b"\xff"
"""No text in UTF-8 has this byte, so a token with unknown bytes equals no text."""
_BYTE = re.compile("<0x([0-9A-F]{2})>")


class TokenBytes(dict[int, bytes]):
    """For byte-level vocabularies, and for those of pieces with `▁` for a blank and `<0x0A>` for a byte."""

    def __init__(self, core: Any, added: Iterable[str], *, pieces: bool) -> None:
        super().__init__()
        self._core, self._added, self._pieces = core, frozenset(added), pieces

    def joined(self, ids: Iterable[int]) -> bytes:
        return b"".join(map(self.__getitem__, ids))

    def __missing__(self, number: int) -> bytes:
        found = self[number] = self._bytes_of(self._core.id_to_token(number))
        return found

    def _bytes_of(self, token: str | None) -> bytes:
        if token is None:
            return _UNKNOWN
        if token in self._added:
            return token.encode()
        if self._pieces:
            byte = _BYTE.fullmatch(token)
            return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()
        try:
            return bytes(map(_LETTERS.__getitem__, token))
        except KeyError:
            return _UNKNOWN


def _letters() -> dict[str, int]:
    """The letter that stands for each byte in byte-level vocabularies: itself if it can be seen, or one from 256 on."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + at): byte for at, byte in enumerate(hidden)}


_LETTERS = _letters()
