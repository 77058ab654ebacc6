"""What a producer may store of the target's logits, so that a trainer need not compute them over all tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

TOKEN, LOGSUMEXP = "target_token", "target_logsumexp"
DTYPES = {TOKEN: torch.int32, LOGSUMEXP: torch.float32}
"""The features [n] that hold it."""


class TeacherSummary(NamedTuple):
    token: Tensor  # [R], int64: the likeliest token
    total: Tensor  # [R], fp32: logsumexp over all tokens


def summary_features(summary: TeacherSummary) -> dict[str, Tensor]:
    """As they are stored."""
    return {TOKEN: summary.token.to(DTYPES[TOKEN]), LOGSUMEXP: summary.total.to(DTYPES[LOGSUMEXP])}


def has_summary(sample: Mapping[str, Tensor]) -> bool:
    return all(name in sample for name in DTYPES)
