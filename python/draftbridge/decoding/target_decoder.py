"""The target while it decodes: one sequence, its K/V cache, and the states that the draft reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch

from draftbridge.bridge.handles import TensorDict
from draftbridge.target.layer_states import LayerStates, StateFeature, text_decoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TargetDecoder:
    """Runs `model` over a growing sequence. Holds hooks on its layers until `close`.

    One sequence at a time: `start` forgets the one before it.
    """

    def __init__(self, model: PreTrainedModel, states: Sequence[StateFeature], aux_layers: Sequence[int]) -> None:
        """`states`: those that the draft reads."""
        self.model = model
        self.embedding = embedding_of(model)
        self._states = tuple(states)
        self._layers = LayerStates(text_decoder(model), aux_layers)
        self._cache: Any = None

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    def start(self, prompt: Sequence[int]) -> torch.Tensor:
        """Begin a sequence with `prompt` (n >= 1 ids). Returns the logits [1, V] that follow its last token."""
        # Not at the top: there it would slow down every process that never decodes.
        from transformers import DynamicCache

        # A cache without a config keeps all rows, also of sliding-window layers, so that `drop` can always crop it.
        self._cache = DynamicCache()
        return self._forward(prompt, logits_to_keep=1)

    def extend(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append `tokens` (k >= 1 ids) in one pass. Returns the logits [k, V] that follow each of them."""
        return self._forward(tokens, logits_to_keep=len(tokens))

    def states(self, rows: int) -> TensorDict:
        """By feature name: the states [1, rows, width] of the first `rows` positions of the last pass."""
        return {state.name: self._layers.read(state)[:, :rows] for state in self._states}

    def drop(self, tokens: int) -> None:
        """Take the last `tokens` ids back out of the sequence: the rejected end of a verify pass."""
        if tokens:
            self._cache.crop(-tokens)

    def close(self) -> None:
        self._layers.close()

    def _forward(self, tokens: Sequence[int], logits_to_keep: int) -> torch.Tensor:
        ids = torch.tensor([list(tokens)], device=self.device)
        output = self.model(input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=logits_to_keep)
        logits: torch.Tensor = output.logits[0]
        return logits


def embedding_of(model: PreTrainedModel) -> torch.Tensor:
    """The token embedding [V, H], which target and draft share."""
    return cast(torch.Tensor, model.get_input_embeddings().weight)
