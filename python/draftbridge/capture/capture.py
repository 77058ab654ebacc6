"""Runs the target over conversations and keeps the features that a draft trains on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE, TensorDict, minted, tensors_of
from draftbridge.bridge.registry import Payload, op
from draftbridge.capture import conversation_mask
from draftbridge.capture.conversation_mask import EncodedSample, Turns
from draftbridge.capture.encoder import Encoder, contract_of
from draftbridge.capture.forward_pass import ForwardPass, ForwardPasses
from draftbridge.drafts.architecture import DraftArchitecture
from draftbridge.drafts.registry import architecture_of
from draftbridge.drafts.teacher_summary import TeacherSummary
from draftbridge.features.ingest import encoded
from draftbridge.settings.capture_contract import LogitRule
from draftbridge.settings.model_settings import DataSettings, DraftSettings, TargetSettings
from draftbridge.settings.section import from_section
from draftbridge.target import target
from draftbridge.target.final_norm import final_norm_in
from draftbridge.target.layer_states import text_decoder
from draftbridge.target.logit_finish import LogitFinish
from draftbridge.target.logit_probe import probe, probe_tokens
from draftbridge.target.logit_rule import finish_of, logit_rule
from draftbridge.target.target_shape import position_limit
from draftbridge.target.target_weights import TargetWeights, load_target_weights


def cpu_has_bfloat16() -> bool:
    """Whether /proc/cpuinfo lists bfloat16 instructions. False without that file."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(f" {name}" in flags for name in ("avx512_bf16", "amx_bf16"))


class Capture(Encoder):
    """Runs a target in transformers and reads its hidden states. Owns the model and the tokenizer."""

    def __init__(
        self,
        settings: TargetSettings,
        architecture: DraftArchitecture,
        aux_layers: Sequence[int],
        store_teacher: bool = False,
        turns: Turns = "all",
        today: str | None = None,
    ) -> None:
        """`store_teacher`: also store a summary of the target's logits. `turns`, `today`: see conversation_mask."""
        super().__init__(settings, architecture, aux_layers, turns, today)
        model = settings.model
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # CPUs without instructions for a half type are many times slower in it than in float32.
        native = self.device.type == "cuda" or (self.dtype == torch.bfloat16 and cpu_has_bfloat16())
        self.compute_dtype = self.dtype if native else torch.float32
        whole = self._loaded(model, spread=settings.devices == "all")
        weights = load_target_weights(model)
        self.positions = position_limit(whole.config.get_text_config())
        self.logits, finish = self._probed(whole, model, weights)
        # Without the head, so that no logits are made.
        decoder = text_decoder(whole)
        summarise: Callable[[torch.Tensor], TeacherSummary] | None = None
        if store_teacher:
            head = weights.head.to(self.device, self.compute_dtype)
            summarise = architecture.summariser(head, finish.to(self.device, self.compute_dtype))
        self._passes = ForwardPasses(decoder, self.states, self.aux_layers, self.dtype, self.device, summarise)

    def _loaded(self, model: str, *, spread: bool) -> Any:
        whole: Any = target.load_model(model, self.compute_dtype, spread=spread)
        if spread:
            self.device = whole.get_input_embeddings().weight.device
            return whole
        try:
            return whole.to(self.device)
        except ValueError as exc:
            # Quantised weights that their library has placed already.
            raise target.unloadable(model, "model", exc) from exc

    def _probed(self, whole: Any, model: str, weights: TargetWeights) -> tuple[LogitRule, LogitFinish]:
        """How logits are rebuilt from the last hidden state, and the proof that training will do so."""
        rule = logit_rule(model, weights)
        finish = finish_of(rule, weights)
        probe(whole, weights, finish, probe_tokens(self.tokenizer, whole), self.aux_layers)
        kind = final_norm_in(text_decoder(whole)).kind
        return replace(rule, norm=None if kind == "rms" else kind), finish

    def batch_tokens(self, given: int | Literal["auto"]) -> int:
        """The most padded tokens of one pass.

        On a CPU a batch is no faster, and alone a sample's bits do not depend on other samples. On a GPU `auto` makes a
        pass of a small target so large that the GPU computes for longer than Python takes to begin it.
        """
        if self.device.type == "cpu":
            return 1
        if given != "auto":
            return given
        weights = self._passes.weights
        return 65536 if weights < 2e9 else 32768 if weights < 5e9 else 16384

    def begin(self, ids: Sequence[torch.Tensor]) -> ForwardPass:
        """A forward pass over `ids` (int64 [n] of each sample)."""
        return self._passes.begin(ids)

    def features(self, ids: Sequence[torch.Tensor]) -> list[TensorDict]:
        """For each of `ids` (int64 [n]): the states [n, width] that the architecture trains on, by name, and the
        summary of the target's logits where it is stored. On the CPU, in `dtype`."""
        return self.begin(ids).features()


@dataclass(frozen=True)
class PassOfSamples:
    """A forward pass with the samples that it runs on: `input_ids` and `loss_mask` of each."""

    samples: list[TensorDict]
    started: ForwardPass
    aux_layers: Sequence[int]


@op("capture.open", "engine")
def _open(payload: Payload) -> Payload:
    if payload["threads"]:
        torch.set_num_threads(payload["threads"])
    settings = from_section(TargetSettings, payload["target"], "target")
    data = from_section(DataSettings, payload["data"], "data")
    draft = from_section(DraftSettings, payload["draft"], "draft")
    architecture = architecture_of(draft.architecture)
    capture = Capture(settings, architecture, payload["auxLayers"], data.teacher, data.turns, data.today)
    contract = contract_of(capture, settings.model)
    return {
        "handle": TABLE.mint(capture),
        "device": capture.device.type,
        "batchTokens": capture.batch_tokens(data.batch_tokens),
        "contract": contract,
    }


@op("capture.encode", "engine")
def _encode(payload: Payload) -> Payload:
    encoder = TABLE.borrow(payload["session"], Encoder)
    # Their places in the user's files are known to the caller, who names them in errors.
    conversations = [{"id": "conversation", **json.loads(text)} for text in payload["conversations"]]
    # The target does not know positions beyond its own.
    kept = min(payload["maxLength"], encoder.positions)
    found = conversation_mask.encode_all(encoder.tokenizer, conversations, turns=encoder.turns, today=encoder.today)
    return {"results": [_result(encoder, one, kept) for one in found]}


def _result(encoder: Encoder, found: list[EncodedSample] | BridgeError, kept: int) -> Payload:
    try:
        if isinstance(found, list):
            return {"samples": [_encoded(encoder, sample, kept) for sample in found]}
    except BridgeError as exc:
        if exc.code != "FEATURE_INVALID":
            raise
        found = exc
    return {"error": {"code": found.code, "message": str(found), "details": found.details}}


def _encoded(encoder: Encoder, sample: EncodedSample, kept: int) -> Payload:
    _check_ids(sample.ids, encoder.shape["vocabSize"])
    tensors = {"input_ids": torch.tensor(sample.ids[:kept]), "loss_mask": torch.tensor(sample.mask[:kept])}
    return {**encoded(tensors, truncated=len(sample.ids) > kept), "turn": sample.turn}


@op("capture.forward", "engine")
def _forward(payload: Payload) -> Payload:
    capture = TABLE.borrow(payload["session"], Capture)
    samples = [tensors_of(handle) for handle in payload["samples"]]
    started = capture.begin([sample["input_ids"] for sample in samples])
    return {"handle": TABLE.mint(PassOfSamples(samples, started, capture.aux_layers))}


@op("capture.collect", "engine")
def _collect(payload: Payload) -> Payload:
    under_way = TABLE.borrow(payload["pass"], PassOfSamples)
    bad = under_way.started.not_finite(under_way.aux_layers)
    complete = zip(under_way.samples, under_way.started.features(), bad, strict=True)
    return {
        "samples": [
            {"set": minted({**sample, **features}), "bad": None}
            if why is None
            else {"set": None, "bad": {"field": why.field, "found": why.found}}
            for sample, features, why in complete
        ]
    }


def _check_ids(ids: list[int], vocab_size: int) -> None:
    if not ids:
        raise BridgeError(
            "FEATURE_INVALID",
            "the conversation has no tokens",
            found="nothing",
            fix="remove this conversation",
        )
    if max(ids) >= vocab_size:
        raise BridgeError(
            "FEATURE_INVALID",
            "the conversation has a token that the target does not have",
            field="input_ids",
            found=f"{max(ids)}; the target's vocabulary has {vocab_size} tokens",
            fix="tokenize it with the target's own tokenizer",
        )
