"""Sections of the configuration with the same fields as src/core/settings/model-settings.ts, which explains them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class VllmSettings:
    python: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    scratch: str | None = None


@dataclass(frozen=True)
class TargetSettings:
    model: str
    dtype: Literal["float32", "bfloat16", "float16"]
    tokenizer: str | None
    devices: Literal["one", "all"] = "one"
    engine: Literal["transformers", "vllm"] = "transformers"
    vllm: VllmSettings = field(default_factory=VllmSettings)


@dataclass(frozen=True)
class DataSettings:
    conversations: str | list[str] | None
    max_length: int
    limit: int | None
    turns: Literal["all", "last", "as-rendered"]
    today: str
    on_bad: Literal["skip", "stop"]
    max_bad_share: float
    batch_tokens: int | Literal["auto"]
    teacher: bool


@dataclass(frozen=True)
class DraftSettings:
    architecture: str
    config: str
    vocab_size: int
    init: Literal["normal", "target-head"]
    fc_norm: bool
    norm_output: bool


@dataclass(frozen=True)
class EvalSettings:
    prompts: str | None
    max_new_tokens: int
    steps: tuple[int, ...]
    dtype: Literal["fp32", "bf16"]
    limit: int | None
