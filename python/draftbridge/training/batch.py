"""Batches: several samples of the store, one after another, ready for a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.drafts.eagle3.row_plan import effective_mask
from draftbridge.drafts.eagle3.teacher import TeacherSummary

_NAMES = ("input_ids", "loss_mask", "hidden_state", "aux_hidden_state")
SUMMARY_FEATURES = ("target_token", "target_logsumexp")
"""Features that a producer may add: int32 and fp32 [n]."""
_SUMMARY_DTYPES = (torch.int32, torch.float32)


@dataclass(frozen=True)
class Batch:
    """Samples end to end, N rows in all and no padding: the unroll needs none. N may be 0. CPU tensors."""

    input_ids: Tensor  # int64 [N]
    loss_mask: Tensor  # int64 [N]
    hidden_state: Tensor  # [N, H]
    aux: Tensor  # [N, 3H]
    lengths: tuple[int, ...]
    summary: TeacherSummary | None = None  # of all N rows

    @property
    def positions(self) -> int:
        """What the batch would hold if it were padded to its longest sample."""
        return len(self.lengths) * max(self.lengths, default=0)

    @property
    def loss_tokens(self) -> int:
        """Trained mask entries; the last entry of a sample never is one."""
        return int(effective_mask(self.loss_mask, self.lengths).sum())


def cut(samples: Sequence[TensorDict], max_length: int) -> list[TensorDict]:
    """Every sample without the rows from `max_length` on. FEATURE_INVALID if sizes or dtypes disagree."""
    return [_checked(sample, index, samples[0], max_length) for index, sample in enumerate(samples)]


def joined(cut: Sequence[TensorDict]) -> Batch:
    """Samples that `cut` has checked, end to end."""
    ids, mask, hidden, aux = (torch.cat([sample[name] for sample in cut]) for name in _NAMES)
    lengths = tuple(sample["input_ids"].numel() for sample in cut)
    if not has_summary(cut):
        return Batch(ids, mask, hidden, aux, lengths)
    token, total = (torch.cat([sample[name] for sample in cut]) for name in SUMMARY_FEATURES)
    return Batch(ids, mask, hidden, aux, lengths, TeacherSummary(token.long(), total))


def has_summary(cut: Sequence[TensorDict]) -> bool:
    """Has the producer stored what it knew of the target's logits, of all of these samples."""
    return all(name in sample for sample in cut for name in SUMMARY_FEATURES)


def collate(samples: Sequence[TensorDict], max_length: int) -> Batch:
    return joined(cut(samples, max_length))


def nothing(width: int) -> Batch:
    """The part of a rank that lost all its samples: it trains on no row and still meets the other ranks."""
    none = torch.zeros(0, dtype=torch.int64)
    return Batch(none, none, torch.zeros(0, width), torch.zeros(0, 3 * width), ())


def _checked(sample: TensorDict, index: int, first: TensorDict, max_length: int) -> TensorDict:
    for name in _NAMES:
        if name not in sample:
            raise _invalid(index, name, f"only {', '.join(sorted(sample))}")
        tensor, rank = sample[name], 1 if name in _NAMES[:2] else 2
        if tensor.dim() != rank or tensor.shape[0] != sample["input_ids"].shape[0] or tensor.shape[0] == 0:
            raise _invalid(index, name, f"shape {list(tensor.shape)} for {sample['input_ids'].numel()} tokens")
        integers = tensor.dtype == torch.int64
        if integers != (rank == 1) or not (integers or tensor.is_floating_point()):
            raise _invalid(index, name, f"dtype {tensor.dtype}")
        if tensor.shape[1:] != first[name].shape[1:] or tensor.dtype != first[name].dtype:
            kind = f"{tensor.dtype} of width {list(tensor.shape[1:])}"
            raise _invalid(index, name, f"{kind}, the first sample has {first[name].dtype} {list(first[name].shape)}")
    if sample["aux_hidden_state"].shape[1] != 3 * sample["hidden_state"].shape[1]:
        raise _invalid(index, "aux_hidden_state", f"width {sample['aux_hidden_state'].shape[1]}")
    summary = [name for name in SUMMARY_FEATURES if name in sample]
    for name, dtype in zip(SUMMARY_FEATURES, _SUMMARY_DTYPES, strict=True):
        if name in summary and (sample[name].shape != sample["input_ids"].shape or sample[name].dtype != dtype):
            raise _invalid(index, name, f"{sample[name].dtype} {list(sample[name].shape)}")
    return {name: sample[name][:max_length] for name in (*_NAMES, *summary)}


def _invalid(index: int, name: str, found: str) -> BridgeError:
    return BridgeError(
        "FEATURE_INVALID",
        f"Sample {index + 1} of a batch does not go with the others.",
        field=name,
        found=found,
        fix="produce the features of this run again with one target and one dtype",
    )
