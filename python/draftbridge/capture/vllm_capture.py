"""A capture whose target runs in vLLM, in another process: layers for vLLM, the files that it writes, and their proof.

vLLM numbers what goes INTO a layer: its layer i + 1 is the output of our layer i, and its layer L is the last hidden
state, before the final norm. It writes the layers in ascending order, each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE, TensorDict, minted, tensors_of
from draftbridge.bridge.registry import Payload, op
from draftbridge.capture.encoder import Encoder, contract_of
from draftbridge.capture.forward_pass import ForwardPass
from draftbridge.capture.vllm_file import states_in
from draftbridge.capture.vllm_probe import VllmProbe
from draftbridge.drafts.registry import architecture_of
from draftbridge.settings.model_settings import DataSettings, DraftSettings, TargetSettings
from draftbridge.settings.section import from_section
from draftbridge.target.logit_rule import finish_of, logit_rule
from draftbridge.target.target import empty_model
from draftbridge.target.target_shape import position_limit
from draftbridge.target.target_weights import load_target_weights


class VllmCapture(Encoder):
    """Encodes conversations, and makes samples of the files that vLLM writes. Owns the tokenizer and the head."""

    def __init__(self, settings: TargetSettings, data: DataSettings, draft: DraftSettings, aux_layers: Sequence[int]):
        super().__init__(settings, architecture_of(draft.architecture), aux_layers, data.turns, data.today)
        weights = load_target_weights(settings.model)
        model = empty_model(settings.model)
        rule = logit_rule(settings.model, weights)
        self.probe = VllmProbe.of(self.tokenizer, model, weights, finish_of(rule, weights), self.dtype)
        kind = self.probe.norm.kind
        self.logits = replace(rule, norm=None if kind == "rms" else kind)
        self.final_norm = "pre"
        self.compute_dtype = self.dtype
        # vLLM keeps one position for the token that it must generate.
        self.positions = position_limit(model.config.get_text_config()) - 1
        if self.positions < 2:
            raise BridgeError(
                "CONFIG_INVALID",
                "the target has too few positions for vLLM",
                field="target.model",
                found=f"{self.positions + 1} positions",
                fix="set target.engine to transformers",
            )

    @property
    def vllm_layers(self) -> list[int]:
        return vllm_layers(self.aux_layers, self.shape["numLayers"])

    def features(self, file: str, ids: torch.Tensor) -> TensorDict:
        """The states of the sample `ids` (int64 [n]) by name, [n, width], from the file that vLLM wrote."""
        layers = self.vllm_layers
        stacked = states_in(file, ids, len(layers), self.shape["hiddenSize"], self.dtype)
        final = stacked[:, layers.index(self.shape["numLayers"])]
        aux = [stacked[:, layers.index(layer + 1)] for layer in self.aux_layers]
        return {
            state.name: (final if state.source == "final" else torch.cat(aux, dim=-1)).contiguous()
            for state in self.states
        }


def vllm_layers(aux_layers: Sequence[int], num_layers: int) -> list[int]:
    """The layers of vLLM that are the outputs of `aux_layers` and the last hidden state, in the order of its files."""
    return sorted({*(layer + 1 for layer in aux_layers), num_layers})


@op("vllm.open", "engine")
def _open(payload: Payload) -> Payload:
    settings = from_section(TargetSettings, payload["target"], "target")
    data = from_section(DataSettings, payload["data"], "data")
    draft = from_section(DraftSettings, payload["draft"], "draft")
    capture = VllmCapture(settings, data, draft, payload["auxLayers"])
    return {
        "handle": TABLE.mint(capture),
        "contract": contract_of(capture, settings.model),
        "layers": capture.vllm_layers,
        "positions": capture.positions,
        "probe": list(capture.probe.tokens),
    }


@op("vllm.probe", "engine")
def _probe(payload: Payload) -> Payload:
    capture = TABLE.borrow(payload["session"], VllmCapture)
    layers = capture.vllm_layers
    ids = torch.tensor(capture.probe.tokens)
    states = states_in(payload["file"], ids, len(layers), capture.shape["hiddenSize"], capture.dtype)
    return {"difference": capture.probe.compare(states[:, -1], payload["logprobs"])}


@op("vllm.ids", "io")
def _ids(payload: Payload) -> Payload:
    return {"ids": tensors_of(payload["tokens"])["input_ids"].tolist()}


@op("vllm.read", "bulk")
def _read(payload: Payload) -> Payload:
    """Like `capture.collect`, for one sample."""
    capture = TABLE.borrow(payload["session"], VllmCapture)
    sample = tensors_of(payload["tokens"])
    rows = capture.features(payload["file"], sample["input_ids"])
    finite = {name: torch.isfinite(state).all(-1) for name, state in rows.items()}
    found = ForwardPass(rows, [len(sample["input_ids"])], finite, None)
    (bad,) = found.not_finite(capture.aux_layers)
    if bad is not None:
        return {"set": None, "bad": {"field": bad.field, "found": bad.found}}
    return {"set": minted({**sample, **rows}), "bad": None}
