"""Attention of the plain unroll: each row attends to the keys of step 0 before it, and to its own later keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from draftbridge.drafts.eagle3.row_plan import Piece

# A piece with more scores per head than this is recomputed in the backward pass, not kept.
_MAX_KEPT_SCORES = 1 << 19


class OwnKeyValues(NamedTuple):
    """Keys and values [kv heads, n, m, d] of n rows at steps 1..m. Only the row itself attends to them."""

    keys: Tensor
    values: Tensor


def attend(
    query: Tensor, keys: Tensor, values: Tensor, own: OwnKeyValues | None, positions: Tensor, pieces: Sequence[Piece]
) -> Tensor:
    """query [heads,n,d], step-0 keys and values [kv heads,N,d], positions [n] -> [n, heads*d].

    A row attends to the step-0 keys of its sample up to its own position, and to all of its own later keys.
    """
    parts = []
    for piece in pieces:
        rows = slice(piece.lo, piece.hi)
        visible = slice(piece.key_lo, piece.key_hi)
        own_part = None if own is None else OwnKeyValues(own.keys[:, rows], own.values[:, rows])
        inputs = (query[:, rows], keys[:, visible], values[:, visible], own_part, positions[rows])
        large = (piece.hi - piece.lo) * (piece.key_hi - piece.key_lo) > _MAX_KEPT_SCORES
        if large and torch.is_grad_enabled():
            parts.append(checkpoint(_attend_piece, *inputs, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(_attend_piece(*inputs))
    heads, _, size = query.shape
    return torch.cat(parts) if parts else query.reshape(0, heads * size)


def _attend_piece(query: Tensor, keys: Tensor, values: Tensor, own: OwnKeyValues | None, positions: Tensor) -> Tensor:
    heads, rows, size = query.shape
    shared, count, _ = keys.shape
    grouped = (query * size**-0.5).reshape(shared, -1, size)
    scores = (grouped @ keys.transpose(-1, -2)).view(shared, -1, rows, count)
    hidden = torch.arange(count, device=query.device) > positions[:, None]
    scores = scores.masked_fill(hidden, -torch.inf)
    if own is not None:
        own_scores = torch.einsum("hgnd,hnmd->hgnm", grouped.view(shared, -1, rows, size), own.keys)
        scores = torch.cat((scores, own_scores), -1)
    weights = torch.softmax(scores, -1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(values.dtype)
    out = (weights[..., :count].reshape(shared, -1, count) @ values).view(shared, -1, rows, size)
    if own is not None:
        out = out + torch.einsum("hgnm,hnmd->hgnd", weights[..., count:], own.values)
    return out.reshape(heads, rows, size).transpose(0, 1).reshape(rows, heads * size)
