"""Attention of the unroll: causal over the keys of step 0, and each row over its own keys of the later steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from draftbridge.drafts.eagle3.row_plan import Piece

# Above this many scores per head, a piece is computed again in the backward pass and not kept.
_KEEP_SCORES = 1 << 19


class Own(NamedTuple):
    """Keys and values that rows made for themselves at steps 1..m: [kv heads, n, m, d]."""

    keys: Tensor
    values: Tensor


def attend(
    query: Tensor, keys: Tensor, values: Tensor, own: Own | None, positions: Tensor, pieces: Sequence[Piece]
) -> Tensor:
    """query [heads,n,d], step-0 keys and values [kv heads,N,d], positions [n] -> [n, heads*d].

    A row sees step-0 keys of its own sample up to its own position, and all of its own later keys.
    """
    parts = []
    for piece in pieces:
        rows = slice(piece.lo, piece.hi)
        seen = slice(piece.key_lo, piece.key_hi)
        mine = None if own is None else Own(own.keys[:, rows], own.values[:, rows])
        given = (query[:, rows], keys[:, seen], values[:, seen], mine, positions[rows])
        large = (piece.hi - piece.lo) * (piece.key_hi - piece.key_lo) > _KEEP_SCORES
        if large and torch.is_grad_enabled():
            parts.append(checkpoint(_attend_piece, *given, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(_attend_piece(*given))
    heads, _, size = query.shape
    return torch.cat(parts) if parts else query.reshape(0, heads * size)


def _attend_piece(query: Tensor, keys: Tensor, values: Tensor, own: Own | None, positions: Tensor) -> Tensor:
    heads, rows, size = query.shape
    shared, count, _ = keys.shape
    grouped = (query * size**-0.5).reshape(shared, -1, size)
    scores = (grouped @ keys.transpose(-1, -2)).view(shared, -1, rows, count)
    hidden = torch.arange(count, device=query.device) > positions[:, None]
    scores = scores.masked_fill(hidden, -torch.inf)
    if own is not None:
        mine = torch.einsum("hgnd,hnmd->hgnm", grouped.view(shared, -1, rows, size), own.keys)
        scores = torch.cat((scores, mine), -1)
    weights = torch.softmax(scores, -1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(values.dtype)
    out = (weights[..., :count].reshape(shared, -1, count) @ values).view(shared, -1, rows, size)
    if own is not None:
        out = out + torch.einsum("hgnm,hnmd->hgnd", weights[..., count:], own.values)
    return out.reshape(heads, rows, size).transpose(0, 1).reshape(rows, heads * size)
