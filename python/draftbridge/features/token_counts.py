"""Counts each token with `loss_mask` 1 over a set of samples. The draft vocabulary is chosen by these counts."""

from __future__ import annotations

import torch
import xxhash

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE, TensorDict, tensors_of
from draftbridge.bridge.registry import Payload, op
from draftbridge.objects.write.object_writer import bytes_of


class TokenCounts:
    """Counts of token ids where `loss_mask` is 1, including the last position of a sample."""

    def __init__(self, vocab_size: int) -> None:
        self._counts = torch.zeros(vocab_size, dtype=torch.int64)

    def add(self, sample: TensorDict) -> None:
        """`input_ids` and `loss_mask` int64 [n]. Raises FEATURE_INVALID for ids outside the target's vocabulary."""
        ids, mask = sample["input_ids"], sample["loss_mask"]
        size = len(self._counts)
        if ids.numel() and int(ids.max()) >= size:
            raise BridgeError(
                "FEATURE_INVALID",
                "the sample has a token that the target does not have",
                field="input_ids",
                found=f"{int(ids.max())}; the target's vocabulary has {size} tokens",
                fix="set target.model to the model that these features were captured from",
            )
        counted = ids[mask == 1]
        self._counts.index_add_(0, counted, torch.ones_like(counted))

    def pairs(self) -> list[list[int]]:
        """[token id, count] of each token with a count above 0: highest count first, then lowest id."""
        seen = self._counts.nonzero().flatten().tolist()
        counts = self._counts.tolist()
        return sorted(([token, counts[token]] for token in seen), key=lambda pair: (-pair[1], pair[0]))


def content_digest(sample: TensorDict) -> str:
    """32 hex digits over `input_ids` and `loss_mask`, int64 [n] both: equal for samples that train the same tokens."""
    digest = xxhash.xxh3_128()
    for name in ("input_ids", "loss_mask"):
        digest.update(bytes_of(sample[name].contiguous()))
    return digest.hexdigest()


@op("counts.open", "io")
def _open(payload: Payload) -> Payload:
    return {"handle": TABLE.mint(TokenCounts(payload["vocabSize"]))}


@op("counts.add", "io")
def _add(payload: Payload) -> Payload:
    sample = tensors_of(payload["set"])
    TABLE.borrow(payload["counter"], TokenCounts).add(sample)
    return {"content": content_digest(sample)}


@op("counts.read", "io")
def _read(payload: Payload) -> Payload:
    return {"pairs": TABLE.borrow(payload["counter"], TokenCounts).pairs()}
