"""The row kernels over logits, a part of `triton_rows.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.kernels import logit_kernels
from draftbridge.drafts.eagle3.kernels.row_kernels import Best, EntropyRows

_BLOCK = 4096


def row_logsumexp(logits: Tensor) -> Tensor:
    rows, width = logits.shape
    out = torch.empty(rows, dtype=torch.float32, device=logits.device)
    if rows > 0:
        logit_kernels.row_logsumexp[(rows,)](logits, out, width, BLOCK=_BLOCK, num_warps=8)
    return out


def fold(logits: Tensor, start: int, best: Best, columns: Tensor, out: Tensor, first: int) -> None:
    rows, width = logits.shape
    if rows == 0:
        return
    logit_kernels.fold_teacher[(rows,)](
        logits,
        best.peak,
        best.total,
        best.token,
        columns,
        out,
        start,
        width,
        first,
        first + columns.numel(),
        out.shape[1],
        BLOCK=_BLOCK,
        num_warps=8,
    )


def entropy(logits: Tensor, rows: EntropyRows, by_entropy: Tensor | None = None) -> None:
    _entropy(logits, rows, by_entropy, None, True)


def entropy_grad(logits: Tensor, rows: EntropyRows, by_entropy: Tensor, by_overlap: Tensor | None) -> None:
    _entropy(logits, rows, by_entropy, by_overlap, False)


def _entropy(
    logits: Tensor, rows: EntropyRows, by_entropy: Tensor | None, by_overlap: Tensor | None, fill: bool
) -> None:
    count, width = logits.shape
    logit_kernels.entropy[(count,)](
        logits,
        rows.teacher,
        rows.draft_logsumexp,
        rows.teacher_logsumexp,
        rows.index,
        rows.trained,
        rows.best,
        rows.stats,
        rows.total,
        rows.lesser,
        rows.total if by_entropy is None else by_entropy,
        rows.total if by_overlap is None else by_overlap,
        count,
        width,
        FILL=fill,
        REPLACE=by_entropy is not None,
        HAS_OVERLAP=by_overlap is not None,
        BLOCK=_BLOCK,
        num_warps=8,
    )
