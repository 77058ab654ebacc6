"""Which tokens of a batch are trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def effective_mask(loss_mask: Tensor, lengths: Sequence[int]) -> Tensor:
    """bool [N]: the last entry of each sample is off, because nothing follows that could be its target."""
    mask = loss_mask.bool().clone()
    # A batch without samples has no lengths, and torch would take an empty list for floats.
    mask[torch.tensor(lengths, dtype=torch.int64).cumsum(0) - 1] = False
    return mask
