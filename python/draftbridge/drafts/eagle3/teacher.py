"""The target's distribution over the draft vocabulary, computed from stored hidden states."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.kernels import torch_rows
from draftbridge.drafts.eagle3.kernels.row_kernels import Best, RowKernels
from draftbridge.drafts.teacher_summary import TeacherSummary
from draftbridge.target.final_norm import FinalNorm
from draftbridge.target.logit_finish import PLAIN_LOGITS, LogitFinish

# Columns of target logits that exist at once. With a few hundred rows, such a slice fits a CPU core's cache.
_CHUNK = 16384


class TeacherLogits(NamedTuple):
    """One row per target position that is needed, in the head's own dtype."""

    logits: Tensor  # [R, Vd] over the draft's columns, in the head's dtype
    draft_logsumexp: Tensor  # [R] over the draft's columns; fp32 or wider, as the next
    logsumexp: Tensor  # [R] over all columns
    best: Tensor  # [R], int64: draft id of the target's likeliest token, -1 if it is outside the draft vocabulary


class Targets(NamedTuple):
    """One row per target position that some row of the draft is trained on."""

    probs: Tensor  # [R, Vd], fp32: softmax over the draft's columns
    mass: Tensor  # [R], fp32: share of the full softmax that falls into the draft vocabulary
    best: Tensor  # [R], int64: draft id of the target's likeliest token, -1 if it is outside the draft vocabulary


class Teacher:
    """Frozen target head. [R, V] never exists at once: argmax and logsumexp run over slices of the vocabulary."""

    def __init__(
        self,
        head: Tensor,
        draft_ids: Tensor,
        norm: FinalNorm | None = None,
        chunk: int = _CHUNK,
        kernels: RowKernels = torch_rows,
        finish: LogitFinish = PLAIN_LOGITS,
    ) -> None:
        """`head` [V, H] on the device and in the dtype to compute in; `draft_ids` int64 [Vd] ascending, on the CPU.
        `finish`: from products with the head to the target's logits."""
        self._head = head
        self._finish = finish
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
        self._draft_columns: Tensor | None = None
        self._draft_size = draft_ids.numel()
        self._to_draft = torch.full((head.shape[0],), -1, dtype=torch.int64, device=head.device)
        self._to_draft[ids] = torch.arange(self._draft_size, device=head.device)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that it keeps on the device."""
        norm = () if self._norm is None else (self._norm.weight, self._norm.bias)
        optional = (self._draft_columns, self._finish.bias, *norm)
        return (self._head, self._to_draft, self._ids, *(tensor for tensor in optional if tensor is not None))

    @torch.no_grad()
    def __call__(self, hidden: Tensor, summary: TeacherSummary | None = None) -> Targets:
        """`hidden` [R, H]: the target's last hidden state as stored."""
        found = self.logits(hidden, summary)
        wide = found.logits.to(found.logsumexp.dtype)
        return Targets(torch.softmax(wide, -1), torch.exp(found.draft_logsumexp - found.logsumexp), found.best)

    @torch.no_grad()
    def logits(self, hidden: Tensor, summary: TeacherSummary | None = None) -> TeacherLogits:
        """`hidden` [R, H]: the target's last hidden state as stored. With `summary` only the draft's
        columns are computed."""
        kernels = self._kernels
        if summary is None:
            draft, best = self._scan(hidden)
            summary = TeacherSummary(best.token, best.total)
        else:
            draft = self._finish(self._normed(hidden) @ self._draft_head().T, self._ids)
        total = summary.total.to(kernels.wide(draft.dtype))
        return TeacherLogits(draft, kernels.row_logsumexp(draft), total, self._to_draft[summary.token])

    @torch.no_grad()
    def summary(self, hidden: Tensor) -> TeacherSummary:
        """The summary that a producer stores for these rows [R, H]."""
        best = self._scan(hidden)[1]
        return TeacherSummary(best.token, best.total.float())

    def _normed(self, hidden: Tensor) -> Tensor:
        hidden = hidden.to(self._head.dtype)
        return hidden if self._norm is None else self._norm(hidden)

    def _draft_head(self) -> Tensor:
        if self._draft_columns is None:
            self._draft_columns = self._head[self._ids]
        return self._draft_columns

    def _scan(self, hidden: Tensor) -> tuple[Tensor, Best]:
        """Logits over the draft's columns, and argmax and logsumexp over all. Argmax ties go to the lowest id."""
        hidden = self._normed(hidden)
        rows, kernels = hidden.shape[0], self._kernels
        draft = torch.empty(rows, self._draft_size, dtype=hidden.dtype, device=hidden.device)
        lowest = torch.full((rows,), -torch.inf, dtype=kernels.wide(hidden.dtype), device=hidden.device)
        best = Best(lowest, torch.zeros(rows, dtype=torch.int64, device=hidden.device), lowest.clone())
        for start, end, first, _, columns in self._slices:
            logits = self._finish(hidden @ self._head[start:end].T, slice(start, end))
            kernels.fold(logits, start, best, columns, draft, first)
        return draft, best
