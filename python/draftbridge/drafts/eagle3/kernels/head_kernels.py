"""Triton kernels of attention heads: rope, and each row's attention over the few keys of its own later steps."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["shift"], do_not_specialize_on_alignment=["tokens", "rows"])
def rotate(
    hidden_part,
    token_part,
    tokens,
    cos,
    sin,
    positions,
    query,
    rows,
    key,
    value,
    hidden_stride,
    token_stride,
    shift,
    QUERY: tl.constexpr,
    KEY: tl.constexpr,
    VALUE: tl.constexpr,
    HALF: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    GROUP: tl.constexpr,
    SCATTER: tl.constexpr,
):
    """Grid: rows x groups of GROUP heads."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * GROUP + tl.arange(0, GROUP)[:, None]
    column = tl.arange(0, HALF_BLOCK)[None, :]
    inside = (head < QUERY + KEY + VALUE) & (column < HALF)
    line = (tl.load(positions + row) + shift) * HALF
    c = tl.load(cos + line + column, mask=column < HALF, other=0.0)
    s = tl.load(sin + line + column, mask=column < HALF, other=0.0)
    at = head * (2 * HALF) + column
    token = tl.load(tokens + row)
    low = tl.load(hidden_part + row * hidden_stride + at, mask=inside, other=0.0)
    high = tl.load(hidden_part + row * hidden_stride + at + HALF, mask=inside, other=0.0)
    low += tl.load(token_part + token * token_stride + at, mask=inside, other=0.0)
    high += tl.load(token_part + token * token_stride + at + HALF, mask=inside, other=0.0)
    plain = head >= QUERY + KEY
    turned_low = tl.where(plain, low, low * c - high * s).to(query.dtype.element_ty)
    turned_high = tl.where(plain, high, high * c + low * s).to(query.dtype.element_ty)
    if QUERY > 0:
        target = row
        if SCATTER:
            target = tl.load(rows + row)
        selected = inside & (head < QUERY)
        place = query + target * (QUERY * 2 * HALF) + at
        tl.store(place, turned_low, mask=selected)
        tl.store(place + HALF, turned_high, mask=selected)
    if KEY > 0:
        selected = inside & (head >= QUERY) & (head < QUERY + KEY)
        place = key + row * (KEY * 2 * HALF) + at - QUERY * 2 * HALF
        tl.store(place, turned_low, mask=selected)
        tl.store(place + HALF, turned_high, mask=selected)
        place = value + row * (VALUE * 2 * HALF) + at - (QUERY + KEY) * 2 * HALF
        tl.store(place, turned_low, mask=inside & plain)
        tl.store(place + HALF, turned_high, mask=inside & plain)


@triton.jit(do_not_specialize=["shift", "last_token"], do_not_specialize_on_alignment=["tokens", "rows"])
def rotate_backward(
    query,
    rows,
    own_query,
    key,
    value,
    tokens,
    cos,
    sin,
    positions,
    hidden_grad,
    token_grad,
    token_stride,
    shift,
    last_token,
    QUERY: tl.constexpr,
    KEY: tl.constexpr,
    VALUE: tl.constexpr,
    HALF: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    GROUP: tl.constexpr,
    GATHER: tl.constexpr,
    HAS_OWN: tl.constexpr,
    HAS_KEYS: tl.constexpr,
):
    """Grid: rows x groups of GROUP heads. No two rows share a token, except the last token, whose gradient is zero."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * GROUP + tl.arange(0, GROUP)[:, None]
    column = tl.arange(0, HALF_BLOCK)[None, :]
    inside = (head < QUERY + KEY + VALUE) & (column < HALF)
    line = (tl.load(positions + row) + shift) * HALF
    c = tl.load(cos + line + column, mask=column < HALF, other=0.0)
    s = tl.load(sin + line + column, mask=column < HALF, other=0.0)
    at = head * (2 * HALF) + column
    low = tl.zeros((GROUP, HALF_BLOCK), tl.float32)
    high = tl.zeros((GROUP, HALF_BLOCK), tl.float32)
    if QUERY > 0:
        source = row
        if GATHER:
            source = tl.load(rows + row)
        selected = inside & (head < QUERY)
        place = source * (QUERY * 2 * HALF) + at
        low += tl.load(query + place, mask=selected, other=0.0).to(tl.float32)
        high += tl.load(query + place + HALF, mask=selected, other=0.0).to(tl.float32)
        if HAS_OWN:
            place = row * (QUERY * 2 * HALF) + at
            low += tl.load(own_query + place, mask=selected, other=0.0)
            high += tl.load(own_query + place + HALF, mask=selected, other=0.0)
    if HAS_KEYS:
        selected = inside & (head >= QUERY) & (head < QUERY + KEY)
        place = row * (KEY * 2 * HALF) + at - QUERY * 2 * HALF
        low += tl.load(key + place, mask=selected, other=0.0)
        high += tl.load(key + place + HALF, mask=selected, other=0.0)
        selected = inside & (head >= QUERY + KEY)
        place = row * (VALUE * 2 * HALF) + at - (QUERY + KEY) * 2 * HALF
        low += tl.load(value + place, mask=selected, other=0.0)
        high += tl.load(value + place + HALF, mask=selected, other=0.0)
    plain = head >= QUERY + KEY
    back_low = tl.where(plain, low, low * c + high * s)
    back_high = tl.where(plain, high, high * c - low * s)
    place = hidden_grad + row * ((QUERY + KEY + VALUE) * 2 * HALF) + at
    tl.store(place, back_low.to(hidden_grad.dtype.element_ty), mask=inside)
    tl.store(place + HALF, back_high.to(hidden_grad.dtype.element_ty), mask=inside)
    token = tl.load(tokens + row)
    counted = inside & (token < last_token)
    place = token_grad + token * token_stride + at
    tl.store(place, tl.load(place, mask=counted, other=0.0) + back_low, mask=counted)
    tl.store(place + HALF, tl.load(place + HALF, mask=counted, other=0.0) + back_high, mask=counted)


@triton.jit(
    do_not_specialize=["steps", "total_stride", "step_stride"], do_not_specialize_on_alignment=["rows", "total"]
)
def merge_own(
    query,
    rows,
    keys,
    values,
    out,
    total,
    steps,
    total_stride,
    step_stride,
    scale,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    GROUP_BLOCK: tl.constexpr,
    SIZE: tl.constexpr,
    SIZE_BLOCK: tl.constexpr,
    GATHER: tl.constexpr,
):
    """Grid: rows x key heads; GROUP query heads share a key head. Updates `out` and `total` in place."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    source = row
    if GATHER:
        source = tl.load(rows + row)
    member = tl.arange(0, GROUP_BLOCK)
    column = tl.arange(0, SIZE_BLOCK)
    inside = (member < GROUP)[:, None] & (column < SIZE)[None, :]
    at = source * (HEADS * GROUP * SIZE) + (head * GROUP + member)[:, None] * SIZE + column[None, :]
    q = tl.load(query + at, mask=inside, other=0.0).to(tl.float32)
    joined = tl.load(out + at, mask=inside, other=0.0).to(tl.float32)
    total_at = total + (head * GROUP + member) * total_stride + source
    peak = tl.load(total_at, mask=member < GROUP, other=0.0)
    weight = tl.full((GROUP_BLOCK,), 1.0, tl.float32)
    own = row * (HEADS * SIZE) + head * SIZE + column
    for step in range(steps):
        place = step * step_stride + own
        k = tl.load(keys + place, mask=column < SIZE, other=0.0).to(tl.float32)
        v = tl.load(values + place, mask=column < SIZE, other=0.0).to(tl.float32)
        score = tl.sum(q * k[None, :], 1) * scale
        higher = tl.maximum(peak, score)
        before = tl.exp(peak - higher)
        new = tl.exp(score - higher)
        joined = joined * before[:, None] + new[:, None] * v[None, :]
        weight = weight * before + new
        peak = higher
    tl.store(out + at, (joined / weight[:, None]).to(out.dtype.element_ty), mask=inside)
    tl.store(total_at, peak + tl.log(weight), mask=member < GROUP)


@triton.jit(
    do_not_specialize=["steps", "total_stride", "step_stride"], do_not_specialize_on_alignment=["rows", "total"]
)
def merge_own_backward(
    grad,
    query,
    rows,
    keys,
    values,
    key_grads,
    value_grads,
    out,
    total,
    grad_rows,
    query_grad,
    steps,
    total_stride,
    step_stride,
    scale,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    GROUP_BLOCK: tl.constexpr,
    SIZE: tl.constexpr,
    SIZE_BLOCK: tl.constexpr,
    GATHER: tl.constexpr,
):
    """Grid: rows x key heads. Writes `query_grad` and `grad_rows`; adds to `key_grads` and `value_grads` in place."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    source = row
    if GATHER:
        source = tl.load(rows + row)
    member = tl.arange(0, GROUP_BLOCK)
    column = tl.arange(0, SIZE_BLOCK)
    inside = (member < GROUP)[:, None] & (column < SIZE)[None, :]
    within = (head * GROUP + member)[:, None] * SIZE + column[None, :]
    here = row * (HEADS * GROUP * SIZE) + within
    there = source * (HEADS * GROUP * SIZE) + within
    given = tl.load(grad + here, mask=inside, other=0.0)
    tl.store(grad_rows + there, given, mask=inside)
    given = given.to(tl.float32)
    q = tl.load(query + there, mask=inside, other=0.0).to(tl.float32)
    merged = tl.load(out + there, mask=inside, other=0.0).to(tl.float32)
    common = tl.sum(given * merged, 1)
    whole = tl.load(total + (head * GROUP + member) * total_stride + source, mask=member < GROUP, other=0.0)
    query_grad_sum = tl.zeros((GROUP_BLOCK, SIZE_BLOCK), tl.float32)
    own = row * (HEADS * SIZE) + head * SIZE + column
    for step in range(steps):
        place = step * step_stride + own
        k = tl.load(keys + place, mask=column < SIZE, other=0.0).to(tl.float32)
        v = tl.load(values + place, mask=column < SIZE, other=0.0).to(tl.float32)
        share = tl.exp(tl.sum(q * k[None, :], 1) * scale - whole)
        score_grad = share * (tl.sum(given * v[None, :], 1) - common) * scale
        query_grad_sum += score_grad[:, None] * k[None, :]
        key_grad_share = tl.sum(score_grad[:, None] * q, 0)
        value_grad_share = tl.sum(share[:, None] * given, 0)
        so_far = tl.load(key_grads + place, mask=column < SIZE, other=0.0)
        tl.store(key_grads + place, so_far + key_grad_share, mask=column < SIZE)
        so_far = tl.load(value_grads + place, mask=column < SIZE, other=0.0)
        tl.store(value_grads + place, so_far + value_grad_share, mask=column < SIZE)
    tl.store(query_grad + here, query_grad_sum, mask=inside)
