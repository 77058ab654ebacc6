"""Batches: several samples of the store, end to end, ready for a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.drafts import teacher_summary
from draftbridge.drafts.loss_mask import effective_mask
from draftbridge.drafts.teacher_summary import TeacherSummary, has_summary
from draftbridge.target.layer_states import StateFeature

_IDS = ("input_ids", "loss_mask")


@dataclass(frozen=True)
class FeatureLayout:
    """Which features a session trains on, and how many of the target's hidden states lie side by side in each."""

    states: tuple[StateFeature, ...]
    aux_layers: tuple[int, ...]
    hidden_size: int

    def width(self, state: StateFeature) -> int:
        return state.layers(self.aux_layers) * self.hidden_size

    def empty_batch(self) -> Batch:
        """The batch of a rank that lost all its samples: it trains on no row and still meets the other ranks."""
        none = torch.zeros(0, dtype=torch.int64)
        return Batch(none, none, {state.name: torch.zeros(0, self.width(state)) for state in self.states}, ())

    def cut(self, samples: Sequence[TensorDict], max_length: int) -> list[TensorDict]:
        """Every sample without the rows from `max_length` on. FEATURE_INVALID if sizes or dtypes disagree."""
        return [self._checked(sample, index, samples[0], max_length) for index, sample in enumerate(samples)]

    def join(self, samples: Sequence[TensorDict]) -> Batch:
        """Samples that `cut` has checked, end to end."""
        ids, mask = (torch.cat([sample[name] for sample in samples]) for name in _IDS)
        states = {state.name: torch.cat([sample[state.name] for sample in samples]) for state in self.states}
        lengths = tuple(sample["input_ids"].numel() for sample in samples)
        if not all(map(has_summary, samples)):
            return Batch(ids, mask, states, lengths)
        token, total = (torch.cat([sample[name] for sample in samples]) for name in teacher_summary.DTYPES)
        return Batch(ids, mask, states, lengths, TeacherSummary(token.long(), total))

    def collate(self, samples: Sequence[TensorDict], max_length: int) -> Batch:
        return self.join(self.cut(samples, max_length))

    def _checked(self, sample: TensorDict, index: int, first: TensorDict, max_length: int) -> TensorDict:
        names = (*_IDS, *(state.name for state in self.states))
        for name in names:
            _check(sample, index, name, first)
        # Features of another target are recognised by their widths: each state's is a multiple of one hidden size.
        unit = sample[self.states[0].name].shape[1] / self.states[0].layers(self.aux_layers)
        for state in self.states:
            if sample[state.name].shape[1] != state.layers(self.aux_layers) * unit:
                raise _invalid(index, state.name, f"width {sample[state.name].shape[1]}")
        summary = [name for name in teacher_summary.DTYPES if name in sample]
        for name in summary:
            tensor = sample[name]
            if tensor.shape != sample["input_ids"].shape or tensor.dtype != teacher_summary.DTYPES[name]:
                raise _invalid(index, name, f"{tensor.dtype} {list(tensor.shape)}")
        return {name: sample[name][:max_length] for name in (*names, *summary)}


@dataclass(frozen=True)
class Batch:
    """Samples end to end, N rows in all and no padding: training needs none. N may be 0. CPU tensors."""

    input_ids: Tensor  # int64 [N]
    loss_mask: Tensor  # int64 [N]
    states: TensorDict  # by feature name: [N, width]
    lengths: tuple[int, ...]
    summary: TeacherSummary | None = None  # of all N rows

    @property
    def positions(self) -> int:
        """Rows that the batch would have if it were padded to its longest sample."""
        return len(self.lengths) * max(self.lengths, default=0)

    @property
    def loss_tokens(self) -> int:
        """Trained mask entries; the last entry of a sample never is one."""
        return int(effective_mask(self.loss_mask, self.lengths).sum())


def _check(sample: TensorDict, index: int, name: str, first: TensorDict) -> None:
    if name not in sample:
        raise _invalid(index, name, f"only {', '.join(sorted(sample))}")
    tensor, rank = sample[name], 1 if name in _IDS else 2
    if tensor.dim() != rank or tensor.shape[0] != sample["input_ids"].shape[0] or tensor.shape[0] == 0:
        raise _invalid(index, name, f"shape {list(tensor.shape)} for {sample['input_ids'].numel()} tokens")
    integers = tensor.dtype == torch.int64
    if integers != (rank == 1) or not (integers or tensor.is_floating_point()):
        raise _invalid(index, name, f"dtype {tensor.dtype}")
    if tensor.shape[1:] != first[name].shape[1:] or tensor.dtype != first[name].dtype:
        kind = f"{tensor.dtype} of width {list(tensor.shape[1:])}"
        raise _invalid(index, name, f"{kind}, the first sample has {first[name].dtype} {list(first[name].shape)}")


def _invalid(index: int, name: str, found: str) -> BridgeError:
    return BridgeError(
        "FEATURE_INVALID",
        f"Sample {index + 1} of a batch does not fit the others.",
        field=name,
        found=found,
        fix="produce the features of this run again with one target and one dtype",
    )
