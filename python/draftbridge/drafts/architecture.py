"""What the rest of the program knows of a draft architecture. Each architecture is a package of its own under `drafts/`
that only drafts/registry.py imports. src/drafts/architecture.ts is the other half of the same bundle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.distributed.world import World
from draftbridge.drafts.draft_decoder import DraftDecoder
from draftbridge.drafts.draft_trainer import DraftTrainer
from draftbridge.drafts.teacher_summary import TeacherSummary
from draftbridge.settings.capture_contract import CaptureContract
from draftbridge.settings.model_settings import DraftSettings, TargetSettings
from draftbridge.settings.train_settings import TrainSettings
from draftbridge.target.layer_states import StateFeature
from draftbridge.target.logit_finish import LogitFinish


@dataclass(frozen=True)
class BuildInputs:
    """What a draft is built from, before its first step."""

    world: World
    train: TrainSettings
    draft: DraftSettings
    target: TargetSettings
    contract: CaptureContract
    raw_config: dict[str, Any]
    """The draft's `config.json`."""
    counts_files: tuple[Path, ...]
    """How often each token is trained: `[token id, count]` lines, to be summed over the files."""
    seed: int
    dtype: torch.dtype
    """To compute in. Trained weights are kept in fp32."""


@dataclass(frozen=True)
class BuiltDraft:
    """`module` holds the trained weights, on the CPU and equal on all ranks; called with a function, it runs it on
    itself, so that a sharded draft gathers its weights once around the call."""

    module: nn.Module
    trainer: DraftTrainer


@dataclass(frozen=True)
class LoadedDraft:
    """A draft from its files, on the CPU in eval mode."""

    directory: Path
    config: Any
    module: nn.Module
    constants: TensorDict


@dataclass(frozen=True)
class ConstantSpec:
    """A tensor that lies in the model file beside the trained weights."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class DraftArchitecture(ABC):
    """Stateless. One instance is registered under its name."""

    name: str
    """As `draft.architecture` of the configuration has it."""
    config_names: tuple[str, ...]
    """Entries of `architectures` in a `config.json` that mean this architecture."""
    states: tuple[StateFeature, ...]
    """The hidden states of the target that it trains on, in the order in which they are stored."""
    decoder_states: tuple[StateFeature, ...]
    """Those that it reads while it decodes."""
    ignored_tensors: frozenset[str] = frozenset()
    """Names that foreign model files may hold and that are not read."""

    @abstractmethod
    def read_config(self, raw: Mapping[str, Any], file: str | None = None) -> Any:
        """Parse a `config.json`. CONFIG_INVALID names the field of `file`."""

    @abstractmethod
    def config_json(self, config: Any, raw: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
        """`config.json` as serving engines read it, for weights of `dtype`; `raw` is the one that was given."""

    @abstractmethod
    def module(self, config: Any) -> nn.Module:
        """The trainable module, on torch's default device, with whatever values torch gives it."""

    @abstractmethod
    def constants(self, config: Any) -> dict[str, ConstantSpec]:
        """What the model file holds beside the trained weights, by name."""

    @abstractmethod
    def build(self, inputs: BuildInputs) -> BuiltDraft:
        """A draft at its first step. CONFIG_INVALID if draft and target do not fit together."""

    @abstractmethod
    def decoder(self, draft: LoadedDraft, embedding: Tensor) -> DraftDecoder:
        """`embedding` [V, H]: the target's, on the device to decode on. CHECKPOINT_INVALID if the draft is of another
        target."""

    def summariser(self, head: Tensor, finish: LogitFinish) -> Callable[[Tensor], TeacherSummary]:
        """For a producer that stores a TeacherSummary: from last hidden states [n, H] to it, by the target's head
        [V, H] and what follows it. CONFIG_INVALID where the architecture has no use for one."""
        raise BridgeError(
            "CONFIG_INVALID",
            "This draft architecture reads nothing of the target's logits.",
            field="data.teacher",
            found=f"true, with draft.architecture {self.name}",
            fix="set data.teacher to false",
        )
