"""Triton kernels over rows of logits: one program per row, which it reads in blocks, mostly from the cache."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def row_logsumexp(logits, out, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    peak = -float("inf")
    weight = 0.0
    for start in range(0, width, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        z = tl.load(logits + row * width + columns, mask=columns < width, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(peak, tl.max(z, 0))
        weight = weight * tl.exp(peak - higher) + tl.sum(tl.exp(z - higher), 0)
        peak = higher
    tl.store(out + row, peak + tl.log(weight))


@triton.jit(do_not_specialize=["start", "width", "first", "last"], do_not_specialize_on_alignment=["columns_of"])
def fold_teacher(
    logits, peak, total, best, columns_of, draft, start, width, first, last, draft_width, BLOCK: tl.constexpr
):
    """One slice of a target's logits [R, width], whose first column is token `start`: folds it into the running
    maximum `peak`, its token `best` and the logsumexp `total`, and copies the columns columns_of[0 .. last - first]
    to the draft's columns first .. last."""
    row = tl.program_id(0).to(tl.int64)
    top = tl.load(peak + row)
    token = tl.load(best + row)
    high = tl.load(total + row)
    weight = 1.0
    if high == -float("inf"):
        weight = 0.0
    for at in range(0, width, BLOCK):
        columns = at + tl.arange(0, BLOCK)
        z = tl.load(logits + row * width + columns, mask=columns < width, other=-float("inf")).to(tl.float32)
        value, index = tl.max(z, 0, return_indices=True, return_indices_tie_break_left=True)
        token = tl.where(value > top, (start + at + index).to(tl.int64), token)
        top = tl.maximum(top, value)
        higher = tl.maximum(high, value)
        weight = weight * tl.exp(high - higher) + tl.sum(tl.exp(z - higher), 0)
        high = higher
    tl.store(peak + row, top)
    tl.store(best + row, token)
    tl.store(total + row, high + tl.log(weight))
    for at in range(0, last - first, BLOCK):
        columns = at + tl.arange(0, BLOCK)
        there = columns < last - first
        source = tl.load(columns_of + columns, mask=there, other=0)
        z = tl.load(logits + row * width + source, mask=there, other=0.0)
        tl.store(draft + row * draft_width + first + columns, z, mask=there)


@triton.jit(do_not_specialize=["rows"], do_not_specialize_on_alignment=["index", "trained", "best", "stats"])
def entropy(
    logits,
    teacher,
    draft_logsumexp,
    teacher_logsumexp,
    index,
    trained,
    best,
    stats,
    total,
    lesser,
    by_entropy,
    by_overlap,
    rows,
    width,
    FILL: tl.constexpr,
    REPLACE: tl.constexpr,
    HAS_OVERLAP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """FILL: compute the outputs of EntropyRows. REPLACE: overwrite the logits by their gradient."""
    row = tl.program_id(0).to(tl.int64)
    line = logits + row * width
    is_trained = tl.load(trained + row) != 0
    if not is_trained:
        if FILL:
            for part in range(3):
                tl.store(stats + part * rows + row, 0.0)
            tl.store(total + row, 0.0)
            tl.store(lesser + row, 0.0)
        if REPLACE:
            for start in range(0, width, BLOCK):
                columns = start + tl.arange(0, BLOCK)
                nothing = tl.zeros((BLOCK,), logits.dtype.element_ty)
                tl.store(line + columns, nothing, mask=columns < width)
        return
    at = tl.load(index + row)
    teacher_line = teacher + at * width
    inside_draft = tl.load(draft_logsumexp + at)
    overall = tl.load(teacher_logsumexp + at)
    if FILL:
        peak = -float("inf")
        weight = 0.0
        cross = 0.0
        top = -float("inf")
        winner = tl.full((), -1, tl.int64)
        for start in range(0, width, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            inside = columns < width
            z = tl.load(line + columns, mask=inside, other=-float("inf")).to(tl.float32)
            t = tl.load(teacher_line + columns, mask=inside, other=-float("inf")).to(tl.float32)
            value, place = tl.max(z, 0, return_indices=True, return_indices_tie_break_left=True)
            winner = tl.where(value > top, (start + place).to(tl.int64), winner)
            top = tl.maximum(top, value)
            higher = tl.maximum(peak, value)
            weight = weight * tl.exp(peak - higher) + tl.sum(tl.exp(z - higher), 0)
            peak = higher
            cross += tl.sum(tl.exp(t - inside_draft) * tl.where(inside, z, 0.0), 0)
        row_total = peak + tl.log(weight)
        overlap = 0.0
        less = 0.0
        for start in range(0, width, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            inside = columns < width
            z = tl.load(line + columns, mask=inside, other=-float("inf")).to(tl.float32)
            t = tl.load(teacher_line + columns, mask=inside, other=-float("inf")).to(tl.float32)
            q = tl.exp(z - row_total)
            p = tl.exp(t - overall)
            overlap += tl.sum(tl.minimum(q, p), 0)
            less += tl.sum(tl.where(q < p, q, 0.0), 0)
        tl.store(stats + row, row_total - cross)
        tl.store(stats + rows + row, overlap)
        tl.store(stats + 2 * rows + row, tl.where(winner == tl.load(best + row), 1.0, 0.0))
        tl.store(total + row, row_total)
        tl.store(lesser + row, less)
    else:
        row_total = tl.load(total + row)
        less = tl.load(lesser + row)
    if REPLACE:
        entropy_weight = tl.load(by_entropy + row)
        overlap_weight = 0.0
        if HAS_OVERLAP:
            overlap_weight = tl.load(by_overlap + row)
        for start in range(0, width, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            inside = columns < width
            z = tl.load(line + columns, mask=inside, other=-float("inf")).to(tl.float32)
            t = tl.load(teacher_line + columns, mask=inside, other=-float("inf")).to(tl.float32)
            q = tl.exp(z - row_total)
            by_logit = (q - tl.exp(t - inside_draft)) * entropy_weight
            if HAS_OVERLAP:
                kept = tl.where(q < tl.exp(t - overall), q, 0.0)
                by_logit += (kept - q * less) * overlap_weight
            tl.store(line + columns, by_logit.to(logits.dtype.element_ty), mask=inside)
