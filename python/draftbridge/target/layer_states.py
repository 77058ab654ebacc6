"""Hidden states of a running target: what drafts learn from, and what they read while decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from draftbridge.bridge.errors import BridgeError

_LAYER_LISTS = ("layers", "h", "blocks")
_INNER = ("language_model", "text_model", "model", "decoder", "transformer")


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


def text_decoder(model: Any) -> Any:
    """The text model inside a causal language model of transformers, without its head; in a multimodal one it is a
    part of a part. CONFIG_INVALID for a model that does not hold its layers in one list."""
    decoder = model.get_decoder()
    while _layers_in(decoder) is None:
        inner = next((part for name in _INNER if (part := getattr(decoder, name, None)) is not None), None)
        if inner is None:
            raise BridgeError(
                "CONFIG_INVALID",
                "the target keeps its layers where draftbridge does not find them",
                field="target.model",
                found=f"{type(model).__name__} without a list of layers under {', '.join(_LAYER_LISTS)}",
                fix="choose a decoder-only language model with one list of layers",
            )
        decoder = inner
    return decoder


def _layers_in(decoder: Any) -> torch.nn.ModuleList | None:
    for name in _LAYER_LISTS:
        found = getattr(decoder, name, None)
        if isinstance(found, torch.nn.ModuleList) and len(found) == decoder.config.num_hidden_layers:
            return found
    return None


class LayerStates:
    """Keeps what layers of `decoder` (from `text_decoder`) computed last.

    Owns forward hooks on the decoder until `close`.
    """

    def __init__(self, decoder: Any, aux_layers: Sequence[int]) -> None:
        self._aux_layers = tuple(aux_layers)
        self._outputs: dict[int, torch.Tensor] = {}
        self._final: torch.Tensor | None = None
        layers = _layers_in(decoder)
        assert layers is not None
        self._hooks = [decoder.register_forward_hook(self._keep_final)]
        self._hooks += [
            layers[layer].register_forward_hook(self._keep_output(layer)) for layer in set(self._aux_layers)
        ]

    def read(self, state: StateFeature) -> torch.Tensor:
        """[B, n, width] of the last forward pass."""
        if state.source == "aux":
            outputs = [self._outputs[layer] for layer in self._aux_layers]
            # The layers of a large target may lie on several devices.
            return torch.cat([output.to(outputs[0].device) for output in outputs], dim=-1)
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
