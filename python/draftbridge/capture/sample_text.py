"""A stored sample as text, in parts that are trained and parts that are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.handles import TABLE, tensors_of
from draftbridge.bridge.registry import Payload, op
from draftbridge.capture.mask_proof import reader_of
from draftbridge.target import target

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class SampleText:
    """A tokenizer that spells stored samples."""

    tokenizer: PreTrainedTokenizerBase

    def parts(self, ids: Sequence[int], mask: Sequence[int]) -> list[tuple[str, bool]]:
        """The text of `ids`, and whether it is trained, in as few parts as there are.

        A token may end within a character: the character belongs to the part in which it begins. Bytes that are no
        character, and tokens that nobody knows, are U+FFFD.
        """
        if not self.tokenizer.is_fast:
            spans = groupby(zip(ids, mask, strict=True), key=lambda token: token[1] == 1)
            shown: Any = self.tokenizer.decode
            return [(str(shown([number for number, _ in span])), trained) for trained, span in spans]
        spelled = zip(reader_of(self.tokenizer).spelled(ids), mask, strict=True)
        owned = _whole_characters((byte, trained == 1) for token, trained in spelled for byte in token)
        parts = groupby(owned, key=lambda one: one[1])
        return [(bytes(byte for byte, _ in part).decode("utf-8", "replace"), trained) for trained, part in parts]


def _whole_characters(text: Iterable[tuple[int, bool]]) -> Iterator[tuple[int, bool]]:
    """The bytes of a text in UTF-8, each with the flag of the byte that begins its character."""
    left, first = 0, False
    for byte, flag in text:
        if left and byte & 0xC0 == 0x80:
            left -= 1
        else:
            left, first = _bytes_behind(byte), flag
        yield byte, first


def _bytes_behind(first: int) -> int:
    """How many bytes follow the first byte of a character."""
    return 3 if first >= 0xF0 else 2 if first >= 0xE0 else 1 if first >= 0xC0 else 0


@op("text.open", "io")
def _open(payload: Payload) -> Payload:
    tokenizer: Any = target.load_tokenizer(payload["model"], payload["tokenizer"])
    known = target.text_hash(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else None
    return {"handle": TABLE.mint(SampleText(tokenizer)), "tokenizerHash": known}


@op("text.parts", "io")
def _parts(payload: Payload) -> Payload:
    text = TABLE.borrow(payload["session"], SampleText)
    sample = tensors_of(payload["set"])
    parts = text.parts(sample["input_ids"].tolist(), sample["loss_mask"].tolist())
    return {"parts": [{"text": part, "trained": trained} for part, trained in parts]}
