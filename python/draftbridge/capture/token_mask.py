"""From a text with marked places to tokens with a mask, for every family of tokenizers, with a proof."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.chat_template import Span

_CONTEXT = 4
"""Tokens before an answer that are decoded with it: some decoders treat the first token of a text in another way."""


def masked_tokens(tokenizer: Any, text: str, spans: list[Span]) -> tuple[list[int], list[int]]:
    """Token ids of `text`, and 1 for each token of `spans` (ascending, disjoint), else 0.

    Where a token would reach over the edge of a span, the text is cut there, as an engine does: it encodes the prompt
    by itself, and the model's tokens come after it. Raises FEATURE_INVALID unless the masked tokens say what the spans
    say.
    """
    ids, offsets = _encode(tokenizer, text)
    cuts = sorted(_straddled(offsets, spans))
    if cuts:
        ids, offsets = _encode_pieces(tokenizer, text, cuts)
    mask = mask_of(offsets, spans)
    _prove(tokenizer, ids, mask, text, spans)
    return ids, mask


def mask_of(offsets: list[Span], spans: list[Span]) -> list[int]:
    """1 for every token whose characters all lie in one of `spans` (ascending, disjoint)."""
    mask: list[int] = []
    at = 0
    for begin, end in _whole(offsets):
        while at < len(spans) and spans[at][1] < end:
            at += 1
        mask.append(int(at < len(spans) and spans[at][0] <= begin and spans[at][0] < end))
    return mask


def _whole(offsets: list[Span]) -> Iterator[Span]:
    """Byte-level tokenizers may leave a token's white space out of its offsets, down to nothing; so a token begins
    where the one before it ended."""
    done = 0
    for begin, end in offsets:
        yield min(begin, done), end
        done = max(done, end)


def _encode(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoded["input_ids"]), [(int(begin), int(end)) for begin, end in encoded["offset_mapping"]]


def _encode_pieces(tokenizer: Any, text: str, cuts: list[int]) -> tuple[list[int], list[Span]]:
    ids: list[int] = []
    offsets: list[Span] = []
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        piece, places = _encode(tokenizer, text[begin:end])
        ids += piece
        offsets += [(begin + first, begin + last) for first, last in places]
    return ids, offsets


def _straddled(offsets: list[Span], spans: list[Span]) -> set[int]:
    """The edges of spans that lie inside of a token. Several tokens may share one character; no edge is in it."""
    edges = [edge for span in spans for edge in span]
    found: set[int] = set()
    at = 0
    for begin, end in _whole(offsets):
        while at < len(edges) and edges[at] <= begin:
            at += 1
        for edge in edges[at:]:
            if edge >= end:
                break
            found.add(edge)
    return found


def _prove(tokenizer: Any, ids: list[int], mask: list[int], text: str, spans: list[Span]) -> None:
    said = "".join(_decoded(tokenizer, ids, run) for run in _runs(mask))
    wanted = "".join(text[begin:end] for begin, end in spans)
    # Tokenizers may bring a text into a normal form of Unicode first.
    if said in {wanted, *(unicodedata.normalize(form, wanted) for form in ("NFC", "NFKC"))}:
        return
    at = next((place for place, pair in enumerate(zip(said, wanted, strict=False)) if pair[0] != pair[1]), len(wanted))
    raise BridgeError(
        "FEATURE_INVALID",
        "the trained tokens do not say what the assistant said",
        field="loss_mask",
        found=f"{said[max(0, at - 20) : at + 20]!r} where the text is {wanted[max(0, at - 20) : at + 20]!r}",
        fix="use the tokenizer that the target was trained with, or give input_ids and loss_start",
    )


def _runs(mask: list[int]) -> Iterator[Span]:
    begin = 0
    for at in range(1, len(mask) + 1):
        if at == len(mask) or mask[at] != mask[begin]:
            if mask[begin]:
                yield begin, at
            begin = at


def _decoded(tokenizer: Any, ids: list[int], run: Span) -> str:
    begin, end = run
    context = max(0, begin - _CONTEXT)
    before = _decode(tokenizer, ids[context:begin])
    whole = _decode(tokenizer, ids[context:end])
    return whole[len(before) :] if whole.startswith(before) else _decode(tokenizer, ids[begin:end])


def _decode(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
