"""The target's features of a conversation: what the draft learns from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE, TensorDict, minted, tensors_of
from draftbridge.bridge.registry import Payload, op
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.features.finite import require_finite
from draftbridge.features.ingest import encoded
from draftbridge.target import conversation_mask, target
from draftbridge.target.target_weights import load_target_weights
from draftbridge.training.unrolling import row_kernels


def cpu_has_bfloat16() -> bool:
    """Does this CPU multiply bfloat16 natively, as the kernel lists it. False where there is no such list."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(f" {name}" in flags for name in ("avx512_bf16", "amx_bf16"))


class Capture:
    """A target in memory, with its tokenizer. Owns the model until it is freed."""

    def __init__(self, model: str, tokenizer: str | None, dtype: torch.dtype, store_teacher: bool = False) -> None:
        """`store_teacher`: also compute the features that `summary_features` returns."""
        self.shape = target.describe(model)
        self.aux_layers = target.aux_layers(self.shape["numLayers"])
        self.tokenizer = target.load_tokenizer(model, tokenizer)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = dtype
        # CPUs without instructions for a half type are many times slower in it than in float32.
        native = self.device.type == "cuda" or (dtype == torch.bfloat16 and cpu_has_bfloat16())
        self.compute_dtype = dtype if native else torch.float32
        # The base model: without the head, so that no logits are made.
        self._model: Any = target.load_model(model, self.compute_dtype).base_model.to(self.device)
        self._teacher: Teacher | None = None
        if store_teacher:
            head = load_target_weights(model).head.to(self.device, self.compute_dtype)
            none = torch.empty(0, dtype=torch.int64)
            self._teacher = Teacher(head, none, kernels=row_kernels(self.device, self.compute_dtype))

    @torch.inference_mode()
    def states(self, ids: list[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each of `ids` (int64 [n]): the last hidden state after the final norm [n, H], and the outputs of the
        three auxiliary layers side by side, low to high [n, 3H]. On the CPU, in `dtype`.

        Rows are right-padded to the longest and masked; the attention is causal, so padding reaches no real token.
        """
        longest = max(len(row) for row in ids)
        batch = torch.zeros(len(ids), longest, dtype=torch.int64)
        mask = torch.zeros(len(ids), longest, dtype=torch.int64)
        for index, row in enumerate(ids):
            batch[index, : len(row)] = row
            mask[index, : len(row)] = 1
        with self._watched() as outputs:
            last = self._model(
                input_ids=batch.to(self.device), attention_mask=mask.to(self.device), use_cache=False
            ).last_hidden_state
        return [
            (
                self._stored(last[index, : len(row)]),
                self._stored(torch.cat([o[index, : len(row)] for o in outputs], -1)),
            )
            for index, row in enumerate(ids)
        ]

    @torch.inference_mode()
    def summary_features(self, hidden: torch.Tensor) -> TensorDict:
        """The features that say what the target's logits are at these stored rows [n, H]; none if not asked for."""
        if self._teacher is None:
            return {}
        token, total = self._teacher.summary(hidden.to(self.device))
        return {"target_token": token.int().cpu(), "target_logsumexp": total.cpu()}

    @contextlib.contextmanager
    def _watched(self) -> Iterator[list[torch.Tensor]]:
        """Collects the outputs of the auxiliary layers, in order, while the model runs."""
        outputs: dict[int, torch.Tensor] = {}
        ordered: list[torch.Tensor] = []

        def keep(layer: int) -> Any:
            def hook(_module: object, _inputs: object, output: Any) -> None:
                outputs[layer] = output[0] if isinstance(output, tuple) else output

            return hook

        hooks = [self._model.layers[layer].register_forward_hook(keep(layer)) for layer in set(self.aux_layers)]
        try:
            yield ordered
        finally:
            for handle in hooks:
                handle.remove()
            ordered.extend(outputs[layer] for layer in self.aux_layers if layer in outputs)

    def _stored(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.to("cpu", self.dtype, copy=True).contiguous()


def _contract(capture: Capture, model: str) -> Payload:
    tokenizer: Any = capture.tokenizer
    template = tokenizer.chat_template
    return {
        "target": model,
        "targetHash": target.identity(model),
        "shape": capture.shape,
        "auxLayers": capture.aux_layers,
        "layerConvention": "output",
        "finalNorm": "post",
        "dtype": str(capture.dtype).removeprefix("torch."),
        "computeDtype": str(capture.compute_dtype).removeprefix("torch."),
        "maskRule": "assistant-tokens",
        "tokenizerHash": target.text_hash(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else None,
        "templateHash": target.text_hash(template) if isinstance(template, str) else None,
    }


@op("capture.open", "engine")
def _open(payload: Payload) -> Payload:
    if payload["threads"]:
        torch.set_num_threads(payload["threads"])
    model = str(payload["model"])
    capture = Capture(model, payload["tokenizer"], getattr(torch, payload["dtype"]), payload["storeTeacher"])
    contract = _contract(capture, model)
    return {"handle": TABLE.mint(capture), "device": capture.device.type, "contract": contract}


@op("capture.encode", "engine")
def _encode(payload: Payload) -> Payload:
    capture = TABLE.borrow(payload["session"], Capture)
    conversation = payload["conversation"]
    ids, mask = conversation_mask.encode(capture.tokenizer, conversation)
    _check_ids(ids, capture.shape["vocabSize"], str(conversation["id"]))
    kept = payload["maxLength"]
    sample = {"input_ids": torch.tensor(ids[:kept]), "loss_mask": torch.tensor(mask[:kept])}
    return encoded(sample, truncated=len(ids) > kept)


@op("capture.forward", "engine")
def _forward(payload: Payload) -> Payload:
    capture = TABLE.borrow(payload["session"], Capture)
    samples = [tensors_of(handle) for handle in payload["samples"]]
    states = capture.states([sample["input_ids"] for sample in samples])
    complete: list[TensorDict] = []
    for at, (sample, (hidden, aux)) in enumerate(zip(samples, states, strict=True)):
        features = {**sample, "hidden_state": hidden, "aux_hidden_state": aux, **capture.summary_features(hidden)}
        require_finite(features, ("hidden_state", "aux_hidden_state"), f"samples[{at}]")
        complete.append(features)
    return {"sets": [minted(features) for features in complete]}


def _check_ids(ids: list[int], vocab_size: int, name: str) -> None:
    if not ids:
        raise BridgeError(
            "FEATURE_INVALID", "the conversation has no tokens", file=name, found="nothing", fix="drop it"
        )
    if max(ids) >= vocab_size:
        raise BridgeError(
            "FEATURE_INVALID",
            "the conversation has a token that the target does not have",
            file=name,
            field="input_ids",
            found=f"{max(ids)}; the target's vocabulary has {vocab_size} tokens",
            fix="tokenize it with the target's own tokenizer",
        )
