"""Which tokens cover which characters."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.errors import BridgeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from draftbridge.capture.mask_proof import Reader

Span = tuple[int, int]


def mask_of(offsets: Sequence[Span], spans: Sequence[Span]) -> list[int]:
    """1 for every token whose characters all lie in one of `spans` (ascending, disjoint).

    Byte-level tokenizers may leave a token's white space out of its offsets, down to nothing; so a token begins
    where the one before it ended.
    """
    mask = [0] * len(offsets)
    for part in tokens_of(offsets, spans):
        mask[part.start : part.stop] = [1] * len(part)
    return mask


def tokens_of(offsets: Sequence[Span], spans: Sequence[Span]) -> list[range]:
    """For each of `spans` the tokens whose characters all lie in it."""
    done = list(accumulate((end for _, end in offsets), max))
    found: list[range] = []
    for begin, end in spans:
        # Tokens that reach behind `begin`, without those that begin before it.
        first, last = bisect_right(done, begin), bisect_right(done, end)
        while first < last and min(offsets[first][0], done[first - 1] if first else 0) < begin:
            first += 1
        found.append(range(first, max(first, last)))
    return found


def tokenized(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[Span]]:
    """Ids and offsets of `text`, which has its special tokens already. Raises CONFIG_INVALID without offsets."""
    return tokenized_all(tokenizer, [text])[0]


def tokenized_all(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[tuple[list[int], list[Span]]]:
    """As `tokenized`, in one call, for which a tokenizer takes all cores."""
    if not tokenizer.is_fast:
        raise BridgeError(
            "CONFIG_INVALID",
            "the loss mask needs a tokenizer that knows which characters a token covers",
            field="target.tokenizer",
            found=type(tokenizer).__name__,
            fix="name a folder with a tokenizer.json",
        )
    encoded: Any = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    each = zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return [(list(ids), _each_its_own(list(offsets), text)) for text, ids, offsets in each]


def _each_its_own(offsets: list[Span], text: str) -> list[Span]:
    """`offsets`, but byte tokens of several characters, which all have the offsets of the whole, get their own."""
    if len(set(offsets)) == len(offsets):
        return offsets
    found: list[Span] = []
    for (begin, end), group in groupby(offsets):
        size = len(list(group))
        owners: list[Span] = [(begin, end)] * size
        if size > 1 and end - begin > 1:
            by_byte = [(at, at + 1) for at in range(begin, end) for _ in text[at].encode()]
            owners = by_byte if len(by_byte) == size else owners
        found += owners
    return found


def tokenized_apart(
    tokenizer: PreTrainedTokenizerBase, reader: Reader, text: str, cuts: Sequence[int]
) -> tuple[list[int], list[Span]]:
    """Ids and offsets of `text` where no token crosses one of `cuts` (ascending).

    The engine reads a prompt and generates behind it, so no token of its own crosses that border.
    """
    ids: list[int] = []
    offsets: list[Span] = []
    for begin, end in pairwise([0, *cuts, len(text)]):
        if begin == end:
            continue
        anchor = reader.anchor if begin > 0 else ""
        own, places = tokenized(tokenizer, anchor + text[begin:end])
        first = 1 if anchor else 0
        if begin > 0 and reader.begins_with_added_blank(own[first:], text[begin:end]):
            first += 1
        moved = begin - len(anchor)
        ids += own[first:]
        offsets += [(one + moved, other + moved) for one, other in places[first:]]
        if own[first:]:
            # Blanks that the last token swallows may be missing from its offsets.
            offsets[-1] = (offsets[-1][0], end)
    return ids, offsets
