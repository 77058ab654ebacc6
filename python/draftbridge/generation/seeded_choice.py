"""Chooses each token with a random number of its own row, so that an answer does not depend on the rows beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class SeededChoice:
    """A logits processor for transformers' greedy search: it leaves one token, drawn as sampling would draw it.

    Row r takes number t of the stream that `seeds[r]` begins for its t-th token. The numbers are made on the CPU, so
    they are the same on every device. `temperature` > 0. `top_p`: as many of the likeliest tokens as
    reach this probability.
    """

    def __init__(self, seeds: Sequence[int], tokens: int, temperature: float, top_p: float, prompt: int) -> None:
        """`tokens`: the most that are drawn. `prompt`: the padded length of the prompts."""
        self._numbers = torch.stack([_stream(seed, tokens) for seed in seeds])
        self._temperature = temperature
        self._top_p = top_p
        self._prompt = prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`input_ids` int64 [rows, n] and `scores` [rows, V]: scores that are -inf but for the drawn token."""
        numbers = self._numbers[:, input_ids.shape[1] - self._prompt].to(scores.device)
        drawn = draw(scores.float() / self._temperature, numbers, self._top_p)
        only = torch.full_like(scores, float("-inf"))
        return only.scatter_(1, drawn[:, None], 0.0)


def draw(logits: torch.Tensor, numbers: torch.Tensor, top_p: float) -> torch.Tensor:
    """The token (int64 [rows]) that each row's number (float64 [rows], in [0, 1)) falls on.

    `logits`: float [rows, V].
    """
    # Likeliest first: a small difference of the logits moves few of the limits between tokens.
    probabilities, order = torch.softmax(logits, dim=-1).double().sort(dim=-1, descending=True, stable=True)
    upto = probabilities.cumsum(dim=-1)
    if top_p < 1.0:
        # A token counts while those before it do not reach top_p; so the likeliest always does.
        probabilities = probabilities.masked_fill(upto - probabilities >= top_p, 0.0)
        upto = probabilities.cumsum(dim=-1)
    wanted = numbers.to(upto.dtype)[:, None] * upto[:, -1:]
    place = torch.searchsorted(upto, wanted, right=True).clamp(max=logits.shape[-1] - 1)
    # Rounding may lead to a token behind the last that counts.
    last = (probabilities > 0).sum(dim=-1, keepdim=True) - 1
    return order.gather(1, torch.minimum(place, last))[:, 0]


def _stream(seed: int, tokens: int) -> torch.Tensor:
    return torch.rand(tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
