"""The proof that training rebuilds the logits of vLLM from the state that vLLM stores, without loading the target.

vLLM is asked for the logprobs of a few tokens along with their states. The same logprobs are rebuilt from the stored
last state with the norm and the head of the target's files. It says nothing of the layers below: a vLLM that computes
another model in them agrees with itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.target.final_norm import FinalNorm, final_norm_in
from draftbridge.target.layer_states import text_decoder
from draftbridge.target.logit_finish import LogitFinish
from draftbridge.target.logit_probe import ROUNDING, probe_tokens
from draftbridge.target.target_weights import TargetWeights

Logprobs = Sequence[Sequence[Sequence[float]]]
"""For each position but the last: `[token, logprob]` of some tokens that may follow it."""


@dataclass(frozen=True)
class VllmProbe:
    tokens: Sequence[int]
    norm: FinalNorm
    head: Tensor
    """[V, H]"""
    finish: LogitFinish
    rounding: float
    """The largest difference that the dtype of vLLM explains, as a share of the largest logit."""

    @classmethod
    def of(
        cls, tokenizer: Any, model: Any, weights: TargetWeights, finish: LogitFinish, dtype: torch.dtype
    ) -> VllmProbe:
        """`model`: of transformers, on the meta device. CONFIG_INVALID for a last norm that training cannot rebuild."""
        norm = final_norm_in(text_decoder(model))
        if norm.kind == "other":
            raise BridgeError(
                "CONFIG_INVALID",
                "vLLM stores the state before the target's last norm, and training cannot rebuild this norm",
                field="target.engine",
                found=f"{type(model).__name__} with a norm of an unknown kind",
                fix="set target.engine to transformers, which stores the state behind the norm",
            )
        norm = replace(norm, weight=_wide(weights.norm), bias=_wide(weights.norm_bias))
        # A logprob is a logit less a logsumexp, and both carry the rounding of logits.
        return cls(probe_tokens(tokenizer, model), norm, weights.head, finish, 2 * ROUNDING[dtype])

    @torch.inference_mode()
    def compare(self, states: Tensor, logprobs: Logprobs) -> float:
        """The largest difference between `logprobs` of vLLM and those rebuilt from `states` [n, H], as a share of the
        largest logit. CONTRACT_MISMATCH if it is beyond rounding."""
        logits = self._logits(self.norm(states.float()))
        by_position = _differences(logits, logprobs)
        largest, at = float(by_position.max()), int(by_position.argmax())
        if largest <= self.rounding:
            return largest
        raise BridgeError(
            "CONTRACT_MISMATCH",
            "training would not rebuild vLLM's logits from the last hidden state that vLLM stores",
            field="target.engine",
            found=f"largest difference {largest:.2g} of the largest logit, at position {at} "
            f"(token {self.tokens[at]}); {self.rounding:.2g} is rounding{self._hint(states, logprobs)}",
            fix="check that vLLM and draftbridge read the same files and that target.vllm.args leave the norm and the "
            "head as they are; or set target.engine to transformers",
        )

    def _logits(self, normed: Tensor) -> Tensor:
        """[n, V] of normed states [n, H], in float32."""
        return self.finish.to(normed.device, torch.float32)(normed @ self.head.float().T, slice(None))

    def _hint(self, states: Tensor, logprobs: Logprobs) -> str:
        """Whether the state is normed already."""
        normed = float(_differences(self._logits(states.float()), logprobs).max()) <= self.rounding
        return "; the stored state is behind the last norm, not before it" if normed else ""


def _differences(logits: Tensor, logprobs: Logprobs) -> Tensor:
    """[n - 1]"""
    if len(logprobs) != len(logits) - 1 or not all(logprobs):
        raise ValueError(f"vLLM gave logprobs of {len(logprobs)} positions for {len(logits)} tokens")
    rebuilt = torch.log_softmax(logits.double(), dim=-1)
    found = [
        max(abs(logprob - float(rebuilt[at, int(token)])) for token, logprob in position)
        for at, position in enumerate(logprobs)
    ]
    return torch.tensor(found) / max(float(logits.abs().max()), 1e-30)


def _wide(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float()
