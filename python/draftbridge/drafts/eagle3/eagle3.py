"""EAGLE3 as a tenant: one decoder layer over the fused states of three target layers, unrolled K steps in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from draftbridge.bridge.errors import BridgeError
from draftbridge.device import determinism
from draftbridge.drafts.architecture import (
    BuildInputs,
    BuiltDraft,
    ConstantSpec,
    DraftArchitecture,
    LoadedDraft,
)
from draftbridge.drafts.draft_decoder import DraftDecoder
from draftbridge.drafts.draft_description import DraftDescription
from draftbridge.drafts.eagle3.draft import Draft, DraftConfig, initial_draft
from draftbridge.drafts.eagle3.eagle3_decoder import Eagle3Decoder
from draftbridge.drafts.eagle3.frozen import frozen_parts, rule_for, target_for
from draftbridge.drafts.eagle3.row_kernel_choice import row_kernels
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.drafts.eagle3.unrolling import FusedUnrolling, PlainUnrolling
from draftbridge.drafts.teacher_summary import TeacherSummary
from draftbridge.drafts.vocabulary import Vocabulary, choose_vocabulary, sum_counts
from draftbridge.target.layer_states import StateFeature
from draftbridge.target.logit_finish import LogitFinish

HIDDEN = StateFeature("hidden_state", "final", rows="wanted")
AUX = StateFeature("aux_hidden_state", "aux")


class Eagle3(DraftArchitecture):
    name = "eagle3"
    config_names = ("LlamaForCausalLMEagle3",)
    states = (HIDDEN, AUX)
    decoder_states = (AUX,)
    # Exports of other programs bring the target's embedding along.
    ignored_tensors = frozenset({"embed_tokens.weight"})

    def read_config(self, raw: Mapping[str, Any], file: str | None = None) -> DraftConfig:
        return DraftConfig.from_dict(raw, file)

    def config_json(self, config: DraftConfig, raw: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
        """Keys of transformers 5 beside the older ones, so that old and new servers read it."""
        name = str(dtype).removeprefix("torch.")
        fixed = {
            "architectures": list(self.config_names),
            "model_type": "llama",
            "num_hidden_layers": 1,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "rope_theta": config.rope_theta,
            "rope_scaling": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
            "torch_dtype": name,
            "dtype": name,
        }
        return {**raw, **{key: getattr(config, key) for key in config.__dataclass_fields__}, **fixed}

    def describe(self, config: DraftConfig, raw: Mapping[str, Any], vocabulary: Vocabulary) -> DraftDescription:
        constants = {"d2t": vocabulary.d2t, "t2d": vocabulary.t2d}
        return DraftDescription(self.name, config, lambda dtype: self.config_json(config, raw, dtype), constants)

    def module(self, config: DraftConfig) -> Draft:
        return Draft(config)

    def constants(self, config: DraftConfig) -> dict[str, ConstantSpec]:
        return {
            "d2t": ConstantSpec((config.draft_vocab_size,), torch.int64),
            "t2d": ConstantSpec((config.vocab_size,), torch.bool),
        }

    def build(self, inputs: BuildInputs) -> BuiltDraft:
        config = self.read_config(inputs.raw_config)
        weights = target_for(config, inputs)
        counts = sum_counts(inputs.counts_files, config.vocab_size)
        vocabulary = choose_vocabulary(counts, config.draft_vocab_size, config.vocab_size)
        draft = initial_draft(config, inputs.seed)
        if inputs.draft.init == "target-head":
            with torch.no_grad():
                scale = rule_for(inputs, weights).scale or 1.0
                draft.lm_head.weight.copy_(weights.head[vocabulary.ids] * scale)
        frozen = frozen_parts(inputs, config, weights, vocabulary)
        description = self.describe(config, inputs.raw_config, vocabulary)
        unrolling = FusedUnrolling if uses_fused(inputs.train.unroll, inputs.dtype) else PlainUnrolling
        return BuiltDraft(draft, unrolling(inputs.world, inputs.train, frozen, description))

    def decoder(self, draft: LoadedDraft, embedding: Tensor) -> DraftDecoder:
        check_sizes(draft.directory, draft.config, embedding)
        d2t = draft.constants["d2t"]
        check_offsets(draft.directory, d2t, draft.config.vocab_size)
        module: nn.Module = draft.module.to(embedding.device)
        assert isinstance(module, Draft)
        return Eagle3Decoder(module, d2t, embedding)

    def summariser(self, head: Tensor, finish: LogitFinish) -> Callable[[Tensor], TeacherSummary]:
        no_draft_ids = torch.empty(0, dtype=torch.int64)
        return Teacher(head, no_draft_ids, kernels=row_kernels(head.device, head.dtype), finish=finish).summary


def uses_fused(unroll: str, dtype: torch.dtype) -> bool:
    """`auto` is fused in bf16, unless training must be deterministic: on a GPU the backward pass of the fused unroll's
    attention adds up in any order."""
    return (dtype == torch.bfloat16 and not determinism.is_on()) if unroll == "auto" else unroll == "fused"


def check_sizes(directory: Path, draft: DraftConfig, embedding: Tensor) -> None:
    """The draft reads the target's states and embedding [V, H], so both must have the target's widths."""
    vocab_size, hidden_size = embedding.shape
    sizes = {"hidden_size": (draft.hidden_size, hidden_size), "vocab_size": (draft.vocab_size, vocab_size)}
    for field, (found, wanted) in sizes.items():
        if found != wanted:
            raise BridgeError(
                "CHECKPOINT_INVALID",
                "the draft was made for another target",
                file=str(directory / "config.json"),
                field=field,
                found=f"{found}; the target has {wanted}",
                fix="evaluate it with the target that it was trained on",
            )


def check_offsets(directory: Path, d2t: Tensor, vocab_size: int) -> None:
    """Every draft id must stand for a token of the target: draft id + offset in [0, V)."""
    ids = d2t + torch.arange(d2t.numel())
    wrong = ((ids < 0) | (ids >= vocab_size)).nonzero().flatten()
    if wrong.numel():
        first = int(wrong[0])
        raise BridgeError(
            "CHECKPOINT_INVALID",
            "the draft's vocabulary map leaves the target's vocabulary",
            file=str(directory / "model.safetensors"),
            field="d2t",
            found=f"draft id {first} stands for {int(ids[first])}; the vocabulary has {vocab_size}",
            fix="d2t holds offsets (target id minus draft id); train or export the draft again",
        )
