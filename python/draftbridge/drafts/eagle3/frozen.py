"""What an EAGLE3 draft's training reads and never changes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.drafts.architecture import BuildInputs
from draftbridge.drafts.eagle3.draft import DraftConfig
from draftbridge.drafts.eagle3.row_kernel_choice import row_kernels
from draftbridge.drafts.eagle3.teacher import FinalNorm, Teacher
from draftbridge.drafts.vocabulary import Vocabulary
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
    embedding = head if weights.head is weights.embed else weights.embed.to(device, dtype)
    norm = None
    if inputs.contract.final_norm == "pre" and weights.norm is not None:
        norm = FinalNorm(weights.norm.to(device, dtype), config.rms_norm_eps)
    return Frozen(
        embedding, Teacher(head, vocabulary.ids, norm, kernels=row_kernels(device, dtype)), vocabulary, config
    )


def target_for(config: DraftConfig, inputs: BuildInputs) -> TargetWeights:
    """The target's weights. CONFIG_INVALID if the draft's sizes are not theirs."""
    weights = load_target_weights(inputs.target.model)
    for name, tensor in (("embedding", weights.embed), ("head", weights.head)):
        if tuple(tensor.shape) != (config.vocab_size, config.hidden_size):
            expected = f"the draft says [{config.vocab_size}, {config.hidden_size}]"
            found = f"target {name} {list(tensor.shape)}, {expected}"
            raise _contradiction("draft.config", found, "set vocab_size and hidden_size to the target's")
    if inputs.contract.final_norm == "pre" and weights.norm is None:
        raise _contradiction("target.model", "no final norm", "capture features after the final norm")
    return weights


def _contradiction(field: str, found: str, fix: str) -> BridgeError:
    return BridgeError("CONFIG_INVALID", "Draft and target do not fit together.", field=field, found=found, fix=fix)
