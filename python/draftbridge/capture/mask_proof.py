"""The proof of a mask: its tokens, decoded, are what the assistant says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_READERS: WeakKeyDictionary[Any, Reader]


class Reader:
    """Compares tokens with text, allowing for what a tokenizer does to every text.

    Some put a blank before a text and behind each special token, some have special tokens that swallow the blanks
    beside them, some compose accents. Nothing else may differ.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        # The tokenizer's parts, and not itself: readers are kept for as long as it lives.
        self._decode: Any = tokenizer.backend_tokenizer.decode
        self._core: Any = tokenizer.backend_tokenizer
        self._added: list[Any] = sorted(tokenizer.added_tokens_decoder.values(), key=lambda token: -len(token.content))

    def spells(self, ids: list[int], text: str) -> bool:
        """Whether `ids` are `text`."""
        decoded = self._decode(ids, skip_special_tokens=False)
        return decoded == text or self._alike(ids, text)

    def shown(self, ids: list[int]) -> str:
        return str(self._decode(ids, skip_special_tokens=False))

    def _alike(self, ids: list[int], text: str) -> bool:
        form = self._form
        anchor = self._anchor
        # Decoders may cut the first blank of a text, so an added token stands before it.
        decoded = self._decode([*anchor[:1], *ids], skip_special_tokens=False)
        decoded = decoded.removeprefix(self._decode(anchor[:1], skip_special_tokens=False)) if anchor else decoded
        have, want = self._parts(form(self._trimmed(decoded))), self._parts(form(self._trimmed(text)))
        if len(have) != len(want):
            return False
        extra = ("", " ") if self._adds_blanks else ("",)
        return all(any(one == blank + other for blank in extra) for one, other in zip(have, want, strict=True))

    @cached_property
    def _anchor(self) -> list[int]:
        known = (self._core.token_to_id(token.content) for token in self._added)
        return [number for number in known if number is not None]

    @cached_property
    def _adds_blanks(self) -> bool:
        first = self._core.encode("a", add_special_tokens=False).tokens[:1]
        return bool(first) and first[0][0] in "▁Ġ"

    @cached_property
    def _form(self) -> Callable[[str], str]:
        normalizer = self._core.normalizer
        if normalizer is None:
            return str
        accent, ligature = normalizer.normalize_str("e\u0301"), normalizer.normalize_str("\ufb01")
        if "fi" in ligature:
            return lambda text: unicodedata.normalize("NFKC", text)
        return (lambda text: unicodedata.normalize("NFC", text)) if "\u00e9" in accent else str

    @cached_property
    def _splitter(self) -> re.Pattern[str] | None:
        names = [re.escape(token.content) for token in self._added]
        return re.compile(f"({'|'.join(names)})") if names else None

    def _parts(self, text: str) -> list[str]:
        return [text] if self._splitter is None else self._splitter.split(text)

    @cached_property
    def _swallowing(self) -> re.Pattern[str] | None:
        names = [
            (r"\s*" if token.lstrip else "") + re.escape(token.content) + (r"\s*" if token.rstrip else "")
            for token in self._added
            if token.lstrip or token.rstrip
        ]
        return re.compile("|".join(names)) if names else None

    def _trimmed(self, text: str) -> str:
        """`text` without the blanks that special tokens swallow."""
        return text if self._swallowing is None else self._swallowing.sub(lambda found: found[0].strip(), text)


_READERS = WeakKeyDictionary()


def reader_of(tokenizer: PreTrainedTokenizerBase) -> Reader:
    """The reader of `tokenizer`, made once."""
    found = _READERS.get(tokenizer)
    if found is None:
        found = _READERS[tokenizer] = Reader(tokenizer)
    return found
