"""What a batch adds up for each draft position: what losses and metrics are made of."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class StepSums(NamedTuple):
    """Sums over this rank's rows, [K] each, for K draft positions. The first three carry gradients.

    P is the target's distribution over the draft's tokens (not renormalised), q the draft's.
    """

    cross_entropy: Tensor
    overlap: Tensor  # of sum_v min(P(v), q(v))
    log_overlap: Tensor
    trained: Tensor  # rows with a loss
    hits: Tensor  # of those, rows whose likeliest token is the right one
