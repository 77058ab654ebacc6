"""Greedy chain decoding: the draft proposes a few tokens in a row, one pass of the target verifies them all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from draftbridge.decoding.target_decoder import TargetDecoder
from draftbridge.drafts.draft_decoder import DraftDecoder


@dataclass(frozen=True)
class Decoded:
    """What one prompt gave. The first output id comes from the prefill and is in neither `tokens` nor `passes`."""

    output_ids: list[int]
    tokens: int
    passes: int
    accepted: list[int]
    """Per draft position: passes in which it and all before it were accepted."""
    proposed: list[int]
    """Per draft position: passes in which it was drafted and all before it were accepted."""
    seconds: float
    """Wall time after the target's prefill, which plain decoding pays too. The draft's own prefill is in it."""


class ChainDecoder:
    """Decodes prompts with `target`, and with `draft` where steps are asked for."""

    def __init__(self, target: TargetDecoder, draft: DraftDecoder, eos_ids: Sequence[int]) -> None:
        self.target = target
        self.draft = draft
        self._eos = frozenset(eos_ids)

    def decode(self, prompt: Sequence[int], max_new_tokens: int, steps: int) -> Decoded:
        """Greedy decoding until an end token or `max_new_tokens`. `steps` 0 is plain decoding: one token a pass."""
        output = best_of(self.target.start(prompt))
        accepted, proposed = [0] * steps, [0] * steps
        passes = 0
        began = time.perf_counter()
        if steps and not self._is_over(output, max_new_tokens):
            self.draft.start(capacity=len(prompt) + max_new_tokens + steps)
            self.draft.commit(self.target.states(len(prompt)), [*prompt[1:], *output])
        while not self._is_over(output, max_new_tokens):
            # The verify pass adds a token of its own, so a draft for the last place would never be used.
            drafted = self.draft.propose(min(steps, max_new_tokens - len(output) - 1)) if steps else []
            kept = self._verify(output[-1], drafted)
            output += kept
            passes += 1
            count_positions(drafted, kept, proposed, accepted)
            if steps and not self._is_over(output, max_new_tokens):
                self.draft.commit(self.target.states(len(kept)), kept)
        seconds = time.perf_counter() - began
        return Decoded(output, len(output) - 1, passes, accepted, proposed, seconds)

    def _verify(self, last: int, drafted: list[int]) -> list[int]:
        """One target pass. Returns the agreeing drafts and the target's own next token, cut after an end token."""
        best = best_of(self.target.extend([last, *drafted]))
        agreed = 0
        while agreed < len(drafted) and drafted[agreed] == best[agreed]:
            agreed += 1
        self.target.drop(len(drafted) - agreed)
        kept = best[: agreed + 1]
        end = next((place for place, token in enumerate(kept) if token in self._eos), agreed)
        return kept[: end + 1]

    def _is_over(self, output: list[int], max_new_tokens: int) -> bool:
        return len(output) >= max_new_tokens or output[-1] in self._eos


def best_of(logits: torch.Tensor) -> list[int]:
    """The likeliest id of each row of `logits` [k, V]."""
    best: list[int] = logits.argmax(dim=-1).tolist()
    return best


def count_positions(drafted: Sequence[int], kept: Sequence[int], proposed: list[int], accepted: list[int]) -> None:
    """Add one verify pass to the per-position counts. A position behind a rejection or an end token was not reached."""
    for place, (guess, token) in enumerate(zip(drafted, kept, strict=False)):
        proposed[place] += 1
        if guess != token:
            break
        accepted[place] += 1
