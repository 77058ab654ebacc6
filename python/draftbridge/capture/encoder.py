"""What a capture needs of a target before it runs: the tokenizer, the sizes and the positions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import torch

from draftbridge.bridge.registry import Payload
from draftbridge.capture.chat_template import writes_date
from draftbridge.capture.conversation_mask import Turns
from draftbridge.drafts.architecture import DraftArchitecture
from draftbridge.settings.capture_contract import LogitRule
from draftbridge.settings.model_settings import TargetSettings
from draftbridge.target import target
from draftbridge.target.logit_rule import rule_json


class Encoder:
    """Encodes conversations for a target, whose weights it does not hold, and describes what the capture makes.

    A subclass sets what its engine decides: `positions`, `logits`, `compute_dtype` and `final_norm`.
    """

    positions: int
    """The most tokens that the target is given."""
    logits: LogitRule
    compute_dtype: torch.dtype
    final_norm: Literal["pre", "post"] = "post"
    """Whether the last hidden state is stored before or behind the target's last norm."""

    def __init__(
        self,
        settings: TargetSettings,
        architecture: DraftArchitecture,
        aux_layers: Sequence[int],
        turns: Turns = "all",
        today: str | None = None,
    ) -> None:
        """`turns`, `today`: see conversation_mask."""
        self.shape = target.describe(settings.model)
        self.aux_layers = tuple(aux_layers)
        self.states = architecture.states
        self.turns: Turns = turns
        self.today = today
        self.tokenizer = target.load_tokenizer(settings.model, settings.tokenizer)
        self.dtype: torch.dtype = getattr(torch, settings.dtype)


def contract_of(encoder: Encoder, model: str) -> Payload:
    """The CaptureContract (src/core/target-contract.ts) of what the capture of `encoder` makes."""
    tokenizer: Any = encoder.tokenizer
    template = tokenizer.chat_template
    logits = rule_json(encoder.logits)
    return {
        **({"logits": logits} if logits else {}),
        "target": model,
        "targetHash": target.identity(model),
        "shape": encoder.shape,
        "auxLayers": list(encoder.aux_layers),
        "layerConvention": "output",
        "finalNorm": encoder.final_norm,
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "computeDtype": str(encoder.compute_dtype).removeprefix("torch."),
        "maskRule": "assistant-tokens",
        "tokenizerHash": target.text_hash(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else None,
        "templateHash": None if template is None else target.text_hash(template_text(template)),
        **({"templateDate": encoder.today} if writes_date(tokenizer) else {}),
    }


def template_text(template: str | dict[str, str]) -> str:
    return template if isinstance(template, str) else json.dumps(template, sort_keys=True)
