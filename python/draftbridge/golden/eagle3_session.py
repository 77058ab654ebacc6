"""A training session of an EAGLE3 draft whose parts are at hand: for golden vectors and benches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from draftbridge.distributed.shared_draft import SharedDraft
from draftbridge.distributed.world import World
from draftbridge.drafts.eagle3.eagle3 import Eagle3
from draftbridge.drafts.eagle3.frozen import Frozen
from draftbridge.drafts.eagle3.unrolling import FusedUnrolling, PlainUnrolling
from draftbridge.settings.train_settings import OptimizerSettings, SaveSettings, TrainSettings, TttSettings
from draftbridge.training.batch import FeatureLayout
from draftbridge.training.train_session import TrainSession


def train_settings(ttt: TttSettings, optimizer: OptimizerSettings) -> TrainSettings:
    """Settings of one batch after another, without what only TypeScript reads."""
    return TrainSettings(
        epochs=1,
        max_steps=None,
        batch={"samples": 1},
        accumulate=1,
        shuffle=False,
        precision="fp32",
        parallel="fsdp",
        unroll="auto",
        compact=True,
        recompute=False,
        stored_teacher=True,
        ttt=ttt,
        optimizer=optimizer,
        log_interval=1,
        save=SaveSettings(every=1, keep=1),
        prefetch=1,
        prefetch_bytes=0,
        max_corrupt_share=0,
        validation=None,
        spikes=None,
        tensorboard=False,
        deterministic=False,
    )


def feature_layout(hidden_size: int) -> FeatureLayout:
    """Three auxiliary layers; which ones does not matter to training."""
    return FeatureLayout(Eagle3.states, (0, 1, 2), hidden_size)


def eagle3_session(
    world: World,
    draft: SharedDraft,
    frozen: Frozen,
    settings: TrainSettings,
    total_steps: int,
    fused: bool = False,
    raw_config: Mapping[str, Any] | None = None,
) -> TrainSession:
    description = Eagle3().describe(frozen.config, raw_config or {}, frozen.vocabulary)
    trainer = (FusedUnrolling if fused else PlainUnrolling)(world, settings, frozen, description)
    layout = feature_layout(frozen.config.hidden_size)
    return TrainSession(world, draft, trainer, layout, settings.optimizer, total_steps)
