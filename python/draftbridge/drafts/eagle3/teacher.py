"""What the target would have said: its distribution over the draft vocabulary, from stored hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.fused.kernels import torch_rows
from draftbridge.drafts.eagle3.fused.kernels.row_kernels import Best, RowKernels
from draftbridge.drafts.eagle3.rms_norm import rms_norm

# Columns of target logits alive at once; with some hundred rows a slice stays near a core's cache.
_CHUNK = 16384


class TeacherLogits(NamedTuple):
    """One row per wanted target position, as the target's head gives it; nothing is rounded again."""

    logits: Tensor  # [R, Vd] over the draft's columns, in the head's dtype
    draft_total: Tensor  # [R] their logsumexp; fp32 or wider, as the next
    total: Tensor  # [R] logsumexp over all columns
    best: Tensor  # [R], int64: draft id of the target's likeliest token, -1 if it is outside the draft vocabulary


class TeacherSummary(NamedTuple):
    """What a producer has stored of the target's logits, so that a trainer need not make them over all tokens."""

    token: Tensor  # [R], int64: the likeliest token
    total: Tensor  # [R], fp32: logsumexp over all tokens


class Targets(NamedTuple):
    """One row per target position that some row of the draft is trained on."""

    probs: Tensor  # [R, Vd], fp32: softmax over the draft's columns
    mass: Tensor  # [R], fp32: share of the full softmax that falls into the draft vocabulary
    best: Tensor  # [R], int64: draft id of the target's likeliest token, -1 if it is outside the draft vocabulary


@dataclass(frozen=True)
class FinalNorm:
    """The target's last RMSNorm, for features that were stored before it."""

    weight: Tensor
    eps: float

    def __call__(self, hidden: Tensor) -> Tensor:
        return rms_norm(hidden, self.weight, self.eps)


class Teacher:
    """Frozen target head. It never makes [R, V]: argmax and logsumexp are streamed over slices of the vocabulary."""

    def __init__(
        self,
        head: Tensor,
        draft_ids: Tensor,
        norm: FinalNorm | None = None,
        chunk: int = _CHUNK,
        kernels: RowKernels = torch_rows,
    ) -> None:
        """`head` [V, H] on the device and in the dtype to compute in; `draft_ids` int64 [Vd] ascending, on the CPU."""
        self._head = head
        self._kernels = kernels
        self._norm = norm
        starts = torch.arange(0, head.shape[0], chunk)
        bounds = torch.searchsorted(draft_ids, torch.cat((starts, torch.tensor([head.shape[0]])))).tolist()
        ids = draft_ids.to(head.device)
        self._slices = [
            (start, min(start + chunk, head.shape[0]), lo, hi, ids[lo:hi] - start)
            for start, lo, hi in zip(starts.tolist(), bounds[:-1], bounds[1:], strict=True)
        ]
        self._ids = ids
        self._own_head: Tensor | None = None
        self._draft_size = draft_ids.numel()
        self._to_draft = torch.full((head.shape[0],), -1, dtype=torch.int64, device=head.device)
        self._to_draft[ids] = torch.arange(self._draft_size, device=head.device)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What it keeps on the device."""
        optional = (self._own_head, None if self._norm is None else self._norm.weight)
        return (self._head, self._to_draft, self._ids, *(tensor for tensor in optional if tensor is not None))

    @torch.no_grad()
    def __call__(self, hidden: Tensor, summary: TeacherSummary | None = None) -> Targets:
        """`hidden` [R, H]: the target's last hidden state as stored."""
        found = self.logits(hidden, summary)
        wide = found.logits.to(found.total.dtype)
        return Targets(torch.softmax(wide, -1), torch.exp(found.draft_total - found.total), found.best)

    @torch.no_grad()
    def logits(self, hidden: Tensor, summary: TeacherSummary | None = None) -> TeacherLogits:
        """`hidden` [R, H]: the target's last hidden state as stored. With `summary` only the draft's
        columns are computed."""
        kernels = self._kernels
        if summary is None:
            draft, best = self._scan(hidden)
            summary = TeacherSummary(best.token, best.total)
        else:
            draft = self._normed(hidden) @ self._draft_head().T
        total = summary.total.to(kernels.wide(draft.dtype))
        return TeacherLogits(draft, kernels.row_logsumexp(draft), total, self._to_draft[summary.token])

    @torch.no_grad()
    def summary(self, hidden: Tensor) -> TeacherSummary:
        """What a producer stores of these rows."""
        best = self._scan(hidden)[1]
        return TeacherSummary(best.token, best.total.float())

    def _normed(self, hidden: Tensor) -> Tensor:
        hidden = hidden.to(self._head.dtype)
        return hidden if self._norm is None else self._norm(hidden)

    def _draft_head(self) -> Tensor:
        if self._own_head is None:
            self._own_head = self._head[self._ids]
        return self._own_head

    def _scan(self, hidden: Tensor) -> tuple[Tensor, Best]:
        """Logits over the draft's columns, and what is known of all. Ties of the argmax go to the lowest id."""
        hidden = self._normed(hidden)
        rows, kernels = hidden.shape[0], self._kernels
        draft = torch.empty(rows, self._draft_size, dtype=hidden.dtype, device=hidden.device)
        lowest = torch.full((rows,), -torch.inf, dtype=kernels.wide(hidden.dtype), device=hidden.device)
        best = Best(lowest, torch.zeros(rows, dtype=torch.int64, device=hidden.device), lowest.clone())
        for start, end, first, _, columns in self._slices:
            kernels.fold(hidden @ self._head[start:end].T, start, best, columns, draft, first)
        return draft, best
