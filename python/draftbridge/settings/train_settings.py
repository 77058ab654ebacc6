"""`train` of the configuration, with the same fields as src/core/settings/train-settings.ts, which explains them.

Give a new field of TrainSettings a default. The configuration always brings a value; the default is for sessions that
are built without one (golden vectors, benches, tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TttSettings:
    steps: int
    decay: float
    loss: Literal["ce", "lk-alpha", "lk-lambda"]
    kl_scale: float
    kl_decay: float
    reduction: Literal["all", "masked"]
    mask_offset: int

    @property
    def needs_totals(self) -> bool:
        """Does the loss of one rank depend on sums over all ranks that only a forward pass knows."""
        return self.reduction == "masked" or self.loss != "ce"


@dataclass(frozen=True)
class OptimizerSettings:
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    clip: float
    warmup_ratio: float
    schedule: Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class SaveSettings:
    every: int
    keep: int


@dataclass(frozen=True)
class ValidationSettings:
    share: float | None
    manifest: str | None
    every: int
    limit: int | None


@dataclass(frozen=True)
class SpikeSettings:
    factor: float


@dataclass(frozen=True)
class TrainSettings:
    epochs: int
    max_steps: int | None
    batch: Mapping[str, int]
    accumulate: int
    shuffle: bool
    precision: Literal["bf16", "fp32"]
    parallel: Literal["fsdp", "replicate"]
    unroll: Literal["auto", "fused", "plain"]
    compact: bool
    recompute: bool
    stored_teacher: bool
    ttt: TttSettings
    optimizer: OptimizerSettings
    log_interval: int
    save: SaveSettings
    prefetch: int
    prefetch_bytes: int
    max_corrupt_share: float
    validation: ValidationSettings | None
    spikes: SpikeSettings | None
    tensorboard: bool
    deterministic: bool
