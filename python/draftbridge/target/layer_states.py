"""Hidden states of a running target: what drafts learn from, and what they read while decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch


@dataclass(frozen=True)
class StateFeature:
    """A feature [n, width] made of the target's hidden states (H wide).

    `final`: the last hidden state, H wide. `aux`: the outputs of the auxiliary layers side by side, in their order.
    """

    name: str
    source: Literal["final", "aux"]
    rows: Literal["all", "wanted"] = "all"
    """Which rows training reads: all, or only those that the row plan wants."""

    def layers(self, aux_layers: Sequence[int]) -> int:
        """How many hidden states lie side by side."""
        return 1 if self.source == "final" else len(aux_layers)


class LayerStates:
    """Keeps what layers of `decoder` (a transformers model without its head) computed last.

    Owns forward hooks on the decoder until `close`.
    """

    def __init__(self, decoder: Any, aux_layers: Sequence[int]) -> None:
        self._aux_layers = tuple(aux_layers)
        self._outputs: dict[int, torch.Tensor] = {}
        self._final: torch.Tensor | None = None
        self._hooks = [decoder.register_forward_hook(self._keep_final)]
        self._hooks += [
            decoder.layers[layer].register_forward_hook(self._keep_output(layer)) for layer in set(self._aux_layers)
        ]

    def read(self, state: StateFeature) -> torch.Tensor:
        """[B, n, width] of the last forward pass."""
        if state.source == "aux":
            return torch.cat([self._outputs[layer] for layer in self._aux_layers], dim=-1)
        assert self._final is not None
        return self._final

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._outputs.clear()
        self._final = None

    def __enter__(self) -> LayerStates:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep_final(self, _module: object, _inputs: object, output: Any) -> None:
        self._final = output.last_hidden_state

    def _keep_output(self, layer: int) -> Callable[[Any, Any, Any], None]:
        def keep(_module: object, _inputs: object, output: Any) -> None:
            # Some architectures of transformers return a tuple that begins with the hidden states.
            self._outputs[layer] = output[0] if isinstance(output, tuple) else output

        return keep
