"""What the files of a draft say beside its trained weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from draftbridge.bridge.handles import TensorDict


@dataclass(frozen=True)
class DraftDescription:
    architecture: str
    """Its name in the registry."""
    config: Any
    """The architecture's own parsed config; equal for equal drafts."""
    config_json: Callable[[torch.dtype], dict[str, Any]]
    """`config.json` for weights of a dtype."""
    constants: TensorDict
    """Tensors that are stored with the weights and never trained, on the CPU."""
