"""The row kernels in plain torch, for any dtype and device. Tests compare `triton_rows.py` with them.

"Wide" is fp32, or the tensors' own dtype where that is wider. Rounding happens where the plain unroll rounds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.kernels.row_kernels import (
    Best,
    EntropyRows,
    Heads,
    HeadTensors,
    OwnKeys,
    RotaryTable,
)


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def matmul_wide(left: Tensor, right: Tensor) -> Tensor:
    return left.to(wide(left.dtype)) @ right.to(wide(right.dtype))


def accumulate(total: Tensor, left: Tensor, right: Tensor) -> None:
    total += matmul_wide(left, right)


def rms_norm(x: Tensor, weight: Tensor, eps: float, out: Tensor) -> Tensor:
    upcast = x.to(wide(x.dtype))
    scale = torch.rsqrt(upcast.square().mean(-1) + eps)
    out.copy_(weight * (upcast * scale[:, None]).to(x.dtype))
    return scale


def rms_norm_backward(
    grad: Tensor, x: Tensor, scale: Tensor, weight: Tensor, weight_grad: Tensor, residual: Tensor | None, out: Tensor
) -> None:
    upcast = grad.to(scale.dtype)
    unit = x.to(scale.dtype) * scale[:, None]
    weight_grad += (upcast * unit.to(x.dtype).to(scale.dtype)).sum(0)
    unit_grad = upcast * weight.to(scale.dtype)
    x_grad = (unit_grad - unit * (unit_grad * unit).mean(-1, keepdim=True)) * scale[:, None]
    out.copy_(x_grad if residual is None else x_grad + residual.to(scale.dtype))


def rms_norm_weight_grad(grad: Tensor, x: Tensor, scale: Tensor, weight_grad: Tensor) -> None:
    unit = (x.to(scale.dtype) * scale[:, None]).to(x.dtype).to(scale.dtype)
    weight_grad += (grad.to(scale.dtype) * unit).sum(0)


def _split(flat: Tensor, heads: Heads) -> tuple[Tensor, Tensor, Tensor]:
    shaped = flat.view(flat.shape[0], -1, heads.size)
    query, key = heads.query, heads.query + heads.key
    return shaped[:, :query], shaped[:, query:key], shaped[:, key:]


def _rotate_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, -1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), -1)


def rotate(
    hidden_part: Tensor,
    token_part: Tensor,
    tokens: Tensor,
    table: RotaryTable,
    heads: Heads,
    into: HeadTensors,
) -> None:
    cos, sin = (part[table.rows + table.shift][:, None] for part in (table.cos, table.sin))
    q, k, v = _split(hidden_part + token_part[tokens], heads)
    if into.query is not None:
        target = slice(None) if into.query_rows is None else into.query_rows
        into.query[target] = _rotate_halves(q, cos, sin).flatten(1).to(into.query.dtype)
    if into.key is not None and into.value is not None:
        into.key.copy_(_rotate_halves(k, cos, sin).flatten(1))
        into.value.copy_(v.flatten(1))


def rotate_backward(
    grads: HeadTensors,
    tokens: Tensor,
    table: RotaryTable,
    heads: Heads,
    hidden_grad: Tensor,
    token_grad: Tensor,
) -> None:
    cos, sin = (part[table.rows + table.shift][:, None] for part in (table.cos, table.sin))
    parts = []
    if grads.query is not None:
        whole = (grads.query if grads.query_rows is None else grads.query[grads.query_rows]).to(cos.dtype)
        whole = whole if grads.own_query is None else whole + grads.own_query
        parts.append(_rotate_halves(whole.view(-1, heads.query, heads.size), cos, -sin))
    if grads.key is not None and grads.value is not None:
        parts.append(_rotate_halves(grads.key.to(cos.dtype).view(-1, heads.key, heads.size), cos, -sin))
        parts.append(grads.value.to(cos.dtype).view(-1, heads.value, heads.size))
    joined = torch.cat([part.flatten(1) for part in parts], 1)
    hidden_grad[:, : joined.shape[1]] = joined.to(hidden_grad.dtype)
    hidden_grad[:, joined.shape[1] :] = 0
    # Rows of one step have different input tokens, except rows past a sample's end, whose gradient is zero.
    token_grad.index_add_(0, tokens, torch.nn.functional.pad(joined, (0, token_grad.shape[1] - joined.shape[1])))


def _grouped(flat: Tensor, heads: int, size: int) -> Tensor:
    """[rows, query heads * size] -> [rows, key heads, group, size], wide."""
    return flat.to(wide(flat.dtype)).view(flat.shape[0], heads, -1, size)


def merge_own(query: Tensor, rows: Tensor | None, own: OwnKeys, out: Tensor, total: Tensor) -> None:
    at = slice(None) if rows is None else rows
    heads, size = own.heads, own.size
    q = _grouped(query[at], heads, size)
    keys, values = (part.to(q.dtype).view(*part.shape[:2], heads, size) for part in (own.keys, own.values))
    scores = torch.einsum("nhgd,mnhd->nhgm", q, keys) * size**-0.5
    before = total[:, at].T.reshape(q.shape[0], heads, -1)
    after = torch.logsumexp(torch.cat((before[..., None], scores), -1), -1)
    kept = _grouped(out[at], heads, size) * torch.exp(before - after)[..., None]
    merged = kept + torch.einsum("nhgm,mnhd->nhgd", torch.exp(scores - after[..., None]), values)
    out[at] = merged.flatten(1).to(out.dtype)
    total[:, at] = after.flatten(1).T


def merge_own_backward(
    grad: Tensor,
    query: Tensor,
    rows: Tensor | None,
    own: OwnKeys,
    out: Tensor,
    total: Tensor,
    grad_rows: Tensor,
    query_grad: Tensor,
) -> None:
    at = slice(None) if rows is None else rows
    heads, size = own.heads, own.size
    grad_rows[at] = grad
    q, grad_out, merged = (_grouped(flat, heads, size) for flat in (query[at], grad, out[at]))
    keys, values = (part.to(q.dtype).view(*part.shape[:2], heads, size) for part in (own.keys, own.values))
    scores = torch.einsum("nhgd,mnhd->nhgm", q, keys) * size**-0.5
    share = torch.exp(scores - total[:, at].T.reshape(q.shape[0], heads, -1)[..., None])
    inner = torch.einsum("nhgd,mnhd->nhgm", grad_out, values) - (grad_out * merged).sum(-1, keepdim=True)
    score_grad = share * inner * size**-0.5
    query_grad.copy_(torch.einsum("nhgm,mnhd->nhgd", score_grad, keys).flatten(1))
    own.key_grads.add_(torch.einsum("nhgm,nhgd->mnhd", score_grad, q).flatten(2))
    own.value_grads.add_(torch.einsum("nhgm,nhgd->mnhd", share, grad_out).flatten(2))


def silu_mul(both: Tensor, out: Tensor) -> None:
    gate, up = both.chunk(2, -1)
    out.copy_(torch.nn.functional.silu(gate) * up)


def silu_mul_backward(grad: Tensor, both: Tensor) -> None:
    gate, up = (part.to(wide(both.dtype)) for part in both.chunk(2, -1))
    upcast = grad.to(gate.dtype)
    sigmoid = torch.sigmoid(gate)
    gate_grad = upcast * up * sigmoid * (1 + gate * (1 - sigmoid))
    both.copy_(torch.cat((gate_grad, upcast * gate * sigmoid), -1))


def row_logsumexp(logits: Tensor) -> Tensor:
    return torch.logsumexp(logits.to(wide(logits.dtype)), -1)


def fold(logits: Tensor, start: int, best: Best, columns: Tensor, out: Tensor, first: int) -> None:
    out[:, first : first + columns.numel()] = logits[:, columns]
    z = logits.to(best.peak.dtype)
    value, index = z.max(-1)
    # Strictly greater: an equal value in a later slice must not win.
    best.token.copy_(torch.where(value > best.peak, index + start, best.token))
    best.peak.copy_(torch.maximum(value, best.peak))
    best.total.copy_(torch.logaddexp(best.total, torch.logsumexp(z, -1)))


def entropy(logits: Tensor, rows: EntropyRows, by_entropy: Tensor | None = None) -> None:
    z, p, mass = _with_teacher(logits, rows)
    total = torch.logsumexp(z, -1)
    q = torch.exp(z - total[:, None])
    target_p = p * mass[:, None]
    rows.total.copy_(total)
    rows.stats[0] = torch.where(rows.trained, total - (p * z).sum(-1), 0.0)
    rows.stats[1] = torch.where(rows.trained, torch.minimum(q, target_p).sum(-1), 0.0)
    rows.stats[2] = torch.where(rows.trained & (z.argmax(-1) == rows.best), 1.0, 0.0)
    rows.lesser.copy_(torch.where(q < target_p, q, 0.0).sum(-1))
    if by_entropy is not None:
        entropy_grad(logits, rows, by_entropy, None)


def entropy_grad(logits: Tensor, rows: EntropyRows, by_entropy: Tensor, by_overlap: Tensor | None) -> None:
    z, p, mass = _with_teacher(logits, rows)
    q = torch.exp(z - rows.total[:, None])
    grad = (q - p) * by_entropy[:, None]
    if by_overlap is not None:
        # min(P, q) depends on q only where q is smaller.
        lesser = torch.where(q < p * mass[:, None], q, 0.0)
        grad += (lesser - q * rows.lesser[:, None]) * by_overlap[:, None]
    logits.copy_(torch.where(rows.trained[:, None], grad, 0.0))


def _with_teacher(logits: Tensor, rows: EntropyRows) -> tuple[Tensor, Tensor, Tensor]:
    z = logits.to(wide(logits.dtype))
    at = rows.index.clamp(min=0)
    teacher = rows.teacher[at].to(z.dtype)
    draft = rows.draft_logsumexp[at]
    return z, torch.exp(teacher - draft[:, None]), torch.exp(draft - rows.teacher_logsumexp[at])
