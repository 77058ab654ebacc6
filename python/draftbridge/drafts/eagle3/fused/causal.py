"""Causal attention over packed samples. Forward and backward are separate, because the unroll merges further keys into
the softmax between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.fused import cudnn_causal


@dataclass(frozen=True)
class Packed:
    """`bounds` int32 [samples + 1]: the first row of each sample, and N. `longest`: rows of the longest sample."""

    bounds: Tensor
    longest: int
    size: int  # columns of a head

    def equal_lengths(self, rows: int) -> bool:
        """Are all samples of one length. Only then cuDNN is used: it is faster, but compiles for each new shape."""
        return rows == self.longest * (self.bounds.numel() - 1) and self.longest % 128 == 0


def causal(query: Tensor, key: Tensor, value: Tensor, packed: Packed) -> tuple[Tensor, Tensor]:
    """[N, heads * size] over keys and values [N, key heads * size] -> output like `query`, and the logsumexp of each
    row's scores [heads, N], fp32 or wider."""
    if _has_kernel(query) and packed.equal_lengths(query.shape[0]):
        return cudnn_causal.forward(query, key, value, packed.longest, packed.size)
    q, k, v = (_split_heads(flat, packed.size) for flat in (query, key, value))
    if _has_kernel(query):
        out, total = torch.ops.aten._flash_attention_forward(
            q, k, v, packed.bounds, packed.bounds, packed.longest, packed.longest, 0.0, True, False
        )[:2]
        return out.flatten(1), total
    outs, totals = [], []
    for rows in _samples(packed):
        scores, values = _scores(q[rows], k[rows]), _repeat_heads(v[rows], q)
        weights = torch.softmax(scores, -1)
        outs.append(torch.einsum("hqk,khd->qhd", weights, values.to(weights.dtype)).to(q.dtype).flatten(1))
        totals.append(torch.logsumexp(scores, -1))
    return torch.cat(outs), torch.cat(totals, 1)


def causal_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, total: Tensor, packed: Packed
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by query, key and value. `out` and `total` may be those of a softmax over more than these keys: each
    weight is exp(score - total), and the term that all weights of a row share is grad . out, over all keys."""
    if _has_kernel(query) and packed.equal_lengths(query.shape[0]):
        return cudnn_causal.backward(grad, query, key, value, out, total, packed.longest, packed.size)
    g, q, k, v, o = (_split_heads(flat, packed.size) for flat in (grad, query, key, value, out))
    if _has_kernel(query):
        unused = torch.empty(2, dtype=torch.uint64, device=q.device)
        bounds, longest = packed.bounds, packed.longest
        found = torch.ops.aten._flash_attention_backward(
            g, q, k, v, o, total, bounds, bounds, longest, longest, 0.0, True, unused, unused
        )
        by_query, by_key, by_value = (part.flatten(1) for part in found)
        return by_query, by_key, by_value
    by_query, by_key, by_value = (torch.zeros_like(part) for part in (q, k, v))
    for rows in _samples(packed):
        scores, values = _scores(q[rows], k[rows]), _repeat_heads(v[rows], q)
        weights = torch.exp(scores - total[:, rows, None])
        given, merged = g[rows].to(weights.dtype), o[rows].to(weights.dtype)
        common = (given * merged).sum(-1).T
        by_score = weights * (torch.einsum("qhd,khd->hqk", given, values.to(weights.dtype)) - common[:, :, None])
        by_score *= packed.size**-0.5
        keys = _repeat_heads(k[rows], q).to(weights.dtype)
        by_query[rows] = torch.einsum("hqk,khd->qhd", by_score, keys).to(q.dtype)
        by_key[rows] = _sum_groups(torch.einsum("hqk,qhd->khd", by_score, q[rows].to(weights.dtype)), k).to(k.dtype)
        by_value[rows] = _sum_groups(torch.einsum("hqk,qhd->khd", weights, given), v).to(v.dtype)
    return by_query.flatten(1), by_key.flatten(1), by_value.flatten(1)


def _has_kernel(query: Tensor) -> bool:
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)


def _split_heads(flat: Tensor, size: int) -> Tensor:
    return flat.view(flat.shape[0], -1, size)


def _samples(packed: Packed) -> list[slice]:
    return [slice(start, end) for start, end in pairwise(packed.bounds.tolist())]


def _repeat_heads(key: Tensor, query: Tensor) -> Tensor:
    return key.repeat_interleave(query.shape[1] // key.shape[1], 1)


def _sum_groups(spread: Tensor, key: Tensor) -> Tensor:
    groups = spread.view(spread.shape[0], key.shape[1], -1, spread.shape[-1])
    return torch.sum(groups, 2)


def _scores(query: Tensor, key: Tensor) -> Tensor:
    wide = torch.promote_types(query.dtype, torch.float32)
    scores = torch.einsum("qhd,khd->hqk", query.to(wide), _repeat_heads(key, query).to(wide)) * query.shape[-1] ** -0.5
    later = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).triu(1)
    return torch.masked_fill(scores, later, -torch.inf)
