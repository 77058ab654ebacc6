"""How features were made, with the same fields as src/core/target-contract.ts, which explains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TorchDtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class TargetShape:
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    rms_norm_eps: float
    rope_theta: float
    max_positions: int
    bos_id: int | None
    eos_ids: tuple[int, ...]


FinalNormKind = Literal["rms", "rms-plus-one", "layer", "other"]


@dataclass(frozen=True)
class LogitRule:
    scale: float | None = None
    cap: float | None = None
    bias: bool | None = None
    tied: bool | None = None
    norm: FinalNormKind | None = None


@dataclass(frozen=True)
class CaptureContract:
    target: str
    target_hash: str
    shape: TargetShape
    aux_layers: tuple[int, ...]
    layer_convention: Literal["output"]
    final_norm: Literal["post", "pre"]
    dtype: TorchDtype
    mask_rule: Literal["assistant-tokens", "from-file"]
    tokenizer_hash: str | None
    template_hash: str | None
    compute_dtype: TorchDtype | None = None
    engine: str | None = None
    template_date: str | None = None
    logits: LogitRule | None = None
