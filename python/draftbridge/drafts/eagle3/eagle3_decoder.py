"""An EAGLE3 draft while it decodes: rows made of true features stay, rows made of its own guesses are overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from draftbridge.drafts.draft_decoder import DraftDecoder
from draftbridge.drafts.eagle3.draft import Draft


class Eagle3Decoder(DraftDecoder):
    """Proposes tokens for one sequence.

    Row t of the cache holds the fused feature of position t and the token at t + 1, with rope position t. `commit`
    appends such rows for tokens that the target has confirmed. `propose` writes its guesses behind them, and the next
    `commit` overwrites those: only true features may stay, or errors of the draft would pile up.
    """

    def __init__(self, draft: Draft, d2t: torch.Tensor, embedding: torch.Tensor) -> None:
        """`d2t` int64 [Vd]: target id minus draft id. `embedding` [V, H]: the target's, which the draft shares."""
        self._draft = draft
        self._offsets: list[int] = d2t.tolist()
        self._embedding = embedding
        self._length = 0

    def start(self, capacity: int) -> None:
        self._length = 0
        self._capacity = capacity
        self._keys: torch.Tensor | None = None
        self._values: torch.Tensor | None = None

    def commit(self, states: Mapping[str, torch.Tensor], next_tokens: Sequence[int]) -> None:
        hidden = self._draft.fuse(states["aux_hidden_state"])
        query = self._write(hidden, next_tokens, at=self._length)
        self._length += len(next_tokens)
        self._last_row = hidden[:, -1:], query[:, :, -1:]

    def propose(self, count: int) -> list[int]:
        hidden, query = self._last_row
        end = self._length
        proposed: list[int] = []
        while len(proposed) < count:
            if proposed:
                query = self._write(hidden, proposed[-1:], at=end)
                end += 1
            hidden = self._draft.finish(hidden, self._attend(query, end))
            guess = int(self._draft.logits(hidden).argmax(dim=-1))
            proposed.append(guess + self._offsets[guess])
        return proposed

    def _write(self, hidden: torch.Tensor, tokens: Sequence[int], at: int) -> torch.Tensor:
        """Store keys and values of the n rows from `at` on and return their queries [1, heads, n, d]."""
        end = at + len(tokens)
        embeds = self._embedding[torch.tensor([list(tokens)], device=self._embedding.device)]
        positions = torch.arange(at, end, device=self._embedding.device)[None]
        query, key, value = self._draft.qkv(embeds, hidden, positions)
        if self._keys is None or self._values is None:
            self._keys = key.new_empty(1, key.shape[1], self._capacity, key.shape[3])
            self._values = torch.empty_like(self._keys)
        self._keys[:, :, at:end] = key
        self._values[:, :, at:end] = value
        return query

    def _attend(self, query: torch.Tensor, end: int) -> torch.Tensor:
        """One row looks at all rows before `end`, its own included, so no mask is needed. Returns [1, 1, heads * d]."""
        assert self._keys is not None and self._values is not None
        attended = functional.scaled_dot_product_attention(
            query, self._keys[:, :, :end], self._values[:, :, :end], enable_gqa=True
        )
        return attended.transpose(1, 2).flatten(2)
