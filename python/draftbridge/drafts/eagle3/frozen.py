"""What an EAGLE3 draft's training reads and never changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.drafts.architecture import BuildInputs
from draftbridge.drafts.eagle3.draft import DraftConfig
from draftbridge.drafts.eagle3.row_kernel_choice import row_kernels
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.drafts.vocabulary import Vocabulary
from draftbridge.settings.capture_contract import LogitRule
from draftbridge.target.final_norm import FinalNorm, final_norm_in
from draftbridge.target.layer_states import text_decoder
from draftbridge.target.logit_rule import finish_of, logit_rule, rule_json
from draftbridge.target.target import empty_model
from draftbridge.target.target_weights import TargetWeights, load_target_weights


@dataclass(frozen=True)
class Frozen:
    """It lies outside the shared draft: every rank has all of it."""

    embedding: Tensor  # [V, H] on the device
    teacher: Teacher
    vocabulary: Vocabulary
    config: DraftConfig


def frozen_parts(inputs: BuildInputs, config: DraftConfig, weights: TargetWeights, vocabulary: Vocabulary) -> Frozen:
    """The target's embedding, head and norm on the device, in the dtype to compute in. Tied weights are one tensor."""
    device, dtype = inputs.world.device, inputs.dtype
    head = weights.head.to(device, dtype)
    embedding = head if weights.tied else weights.embed.to(device, dtype)
    norm = final_norm_for(inputs, weights) if inputs.contract.final_norm == "pre" else None
    finish = finish_of(rule_for(inputs, weights), weights).to(device, dtype)
    teacher = Teacher(head, vocabulary.ids, norm, kernels=row_kernels(device, dtype), finish=finish)
    return Frozen(embedding, teacher, vocabulary, config)


def rule_for(inputs: BuildInputs, weights: TargetWeights) -> LogitRule:
    """How the target makes logits, from its files. CONTRACT_MISMATCH if the capture contract says another rule."""
    rule, stated = logit_rule(inputs.target.model, weights), inputs.contract.logits
    expected = rule if stated is None else replace(stated, norm=None)
    if expected == rule:
        return rule
    raise BridgeError(
        "CONTRACT_MISMATCH",
        "The target makes logits in another way than when the features were captured.",
        file=inputs.target.model,
        field="target.model",
        found=f"{rule_json(rule) or 'plain logits'}; the contract says {rule_json(expected) or 'plain logits'}",
        fix="name the target that made the features in target.model, or produce them again",
    )


def final_norm_for(inputs: BuildInputs, weights: TargetWeights) -> FinalNorm:
    """The target's last norm, for features stored before it. CONFIG_INVALID for one that cannot be rebuilt."""
    norm = final_norm_in(text_decoder(empty_model(inputs.target.model)))
    if norm.kind == "other":
        fix = "capture features after the final norm"
        raise _contradiction("target.model", "a final norm that draftbridge cannot rebuild", fix)
    device, dtype = inputs.world.device, inputs.dtype
    weight, bias = (None if part is None else part.to(device, dtype) for part in (weights.norm, weights.norm_bias))
    return replace(norm, weight=weight, bias=bias)


def target_for(config: DraftConfig, inputs: BuildInputs) -> TargetWeights:
    """The target's weights. CONFIG_INVALID if the draft's sizes are not theirs."""
    weights = load_target_weights(inputs.target.model)
    for name, tensor in (("embedding", weights.embed), ("head", weights.head)):
        if tuple(tensor.shape) != (config.vocab_size, config.hidden_size):
            expected = f"the draft says [{config.vocab_size}, {config.hidden_size}]"
            found = f"target {name} {list(tensor.shape)}, {expected}"
            raise _contradiction("draft.config", found, "set vocab_size and hidden_size to the target's")
    return weights


def _contradiction(field: str, found: str, fix: str) -> BridgeError:
    return BridgeError("CONFIG_INVALID", "Draft and target do not fit together.", field=field, found=found, fix=fix)
