"""The proof of a mask: its tokens, decoded, are what the assistant says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from draftbridge.capture.token_bytes import TokenBytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
        """Whether `ids` are `text`. Cheap where the tokens are bytes of the text and nothing else."""
        return self._bytes.joined(ids) == text.encode() or self.shown(ids) == text or self._alike(ids, text)

    def spelled(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each token; one that is in no text for a token that nobody knows."""
        return [self._bytes[number] for number in ids]

    def shown(self, ids: list[int]) -> str:
        return str(self._decode(ids, skip_special_tokens=False))

    def _alike(self, ids: list[int], text: str) -> bool:
        have, want = self._parts(self._anchored(ids)), self._parts(text)
        if len(have) != len(want):
            return False
        extra = ("", " ") if self._adds_blanks else ("",)
        return all(any(one == blank + other for blank in extra) for one, other in zip(have, want, strict=True))

    @cached_property
    def _bytes(self) -> TokenBytes:
        return TokenBytes(self._core, [token.content for token in self._added], pieces=self._one_sign)

    def begins_with_added_blank(self, ids: list[int], text: str) -> bool:
        """Whether the first of `ids`, the tokens of `text`, is a blank that the tokenizer put there."""
        return self._adds_blanks and not text.startswith(" ") and self._anchored(ids[:1]) == " "

    def _anchored(self, ids: list[int]) -> str:
        """The text of `ids`. Decoders may cut the first blank of a text, so an added token stands before them."""
        number = self._core.token_to_id(self.anchor) if self.anchor else None
        if number is None:
            return self.shown(ids)
        return str(self._decode([number, *ids], skip_special_tokens=False)).removeprefix(self.anchor)

    @cached_property
    def anchor(self) -> str:
        """An added token that leaves the text beside it alone. Empty if there is none."""
        plain = [token.content for token in self._added if not token.lstrip and not token.rstrip]
        return next((name for name in plain if self._spelled_alone(name)), "")

    def _spelled_alone(self, name: str) -> bool:
        number = self._core.token_to_id(name)
        return number is not None and self.shown([number]) == name

    @cached_property
    def _adds_blanks(self) -> bool:
        first = self._core.encode("a", add_special_tokens=False).tokens[:1]
        return bool(first) and first[0][0] in "▁Ġ"

    @cached_property
    def _form(self) -> Callable[[str], str]:
        """What is left of a text in its tokens: some tokenizers compose accents, or have one sign for ▁ and a blank."""
        normalizer = self._core.normalizer
        accent = "" if normalizer is None else normalizer.normalize_str("e\u0301")
        ligature = "" if normalizer is None else normalizer.normalize_str("\ufb01")
        composed: Literal["NFKC", "NFC"] | None = "NFKC" if "fi" in ligature else "NFC" if "\u00e9" in accent else None

        def form(text: str) -> str:
            text = text if composed is None else unicodedata.normalize(composed, text)
            return text.replace("▁", " ") if self._one_sign else text

        return form

    @cached_property
    def _one_sign(self) -> bool:
        """Whether ▁ and a blank are the same to the tokenizer."""
        return self.shown(self._core.encode("a▁b", add_special_tokens=False).ids).endswith("a b")

    @cached_property
    def _splitter(self) -> re.Pattern[str] | None:
        names = [re.escape(token.content) for token in self._added]
        return re.compile(f"({'|'.join(names)})") if names else None

    def _parts(self, text: str) -> list[str]:
        """The text between added tokens, and these."""
        text = self._trimmed(text)
        parts = [text] if self._splitter is None else self._splitter.split(text)
        return [self._form(part) for part in parts]

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


_READERS: WeakKeyDictionary[Any, Reader] = WeakKeyDictionary()


def reader_of(tokenizer: PreTrainedTokenizerBase) -> Reader:
    """The reader of `tokenizer`, made once."""
    found = _READERS.get(tokenizer)
    if found is None:
        found = _READERS[tokenizer] = Reader(tokenizer)
    return found
