"""Which tokens cover which characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.errors import BridgeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    found = [range(0)] * len(spans)
    done, at = 0, 0
    for token, (begin, end) in enumerate(offsets):
        first = min(begin, done)
        while at < len(spans) and spans[at][1] < end:
            at += 1
        if at < len(spans) and spans[at][0] <= first and spans[at][0] < end:
            found[at] = range(found[at].start if found[at] else token, token + 1)
        done = max(done, end)
    return found


def tokenized(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[Span]]:
    """Ids and offsets of `text`, which has its special tokens already. Raises CONFIG_INVALID without offsets."""
    if not tokenizer.is_fast:
        raise BridgeError(
            "CONFIG_INVALID",
            "the loss mask needs a tokenizer that knows which characters a token covers",
            field="target.tokenizer",
            found=type(tokenizer).__name__,
            fix="name a folder with a tokenizer.json",
        )
    encoded: Any = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoded["input_ids"]), list(encoded["offset_mapping"])


def tokenized_apart(
    tokenizer: PreTrainedTokenizerBase, text: str, spans: Sequence[Span]
) -> tuple[list[int], list[range]]:
    """Ids of `text` where no token crosses the border of a span, and the tokens of each span.

    The engine reads a prompt and generates behind it, so no token of its own crosses that border either.
    """
    ids: list[int] = []
    found: list[range] = []
    done = 0
    for begin, end in spans:
        ids += tokenized(tokenizer, text[done:begin])[0]
        own = tokenized(tokenizer, text[begin:end])[0]
        found.append(range(len(ids), len(ids) + len(own)))
        ids += own
        done = end
    return ids + tokenized(tokenizer, text[done:])[0], found
