"""A guard: what training rebuilds from a stored hidden state are the logits of the whole target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError

_TOKENS = 16
_HEAD_ROWS = 16384
"""Rows of the head that are in memory as float32 at a time."""
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}
"""Of the largest logit. A half type rounds the target's logits, and those here come from float32 sums."""


@torch.inference_mode()
def largest_difference(logits: Tensor, hidden: Tensor, head: Tensor) -> tuple[float, int, int]:
    """`logits` [n, V], `hidden` [n, H], `head` [V, H]: the largest difference of the logits from hidden @ head, in
    parts of the largest logit, and its position and token."""
    scale = float(logits.abs().max()) or 1.0
    worst = (-1.0, 0, 0)
    for first in range(0, min(len(head), logits.shape[1]), _HEAD_ROWS):
        part = head[first : first + _HEAD_ROWS].to(hidden.device, torch.float32)
        wanted = logits[:, first : first + len(part)].float()
        found = (wanted - hidden.float() @ part[: wanted.shape[1]].T).abs().nan_to_num(nan=float("inf"))
        at = int(found.argmax())
        position, token = divmod(at, found.shape[1])
        difference = float(found[position, token]) / scale
        if difference > worst[0]:
            worst = (difference, position, first + token)
    return worst


@torch.inference_mode()
def expect_rebuildable(model: Any, read_final: Any, head: Tensor, name: str) -> float:
    """Runs `model` (with its head) on a few tokens and compares. `read_final()`: the last hidden state [1, n, H] of
    that pass, which is stored. The largest difference, in parts of the largest logit. Raises CONTRACT_MISMATCH."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, len(head), (1, _TOKENS), generator=generator).to(model.device)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[0]
    hidden = read_final()[0]
    difference, position, token = largest_difference(logits, hidden, head)
    allowed = _TOLERANCE.get(hidden.dtype, 1e-4)
    if difference <= allowed:
        return difference
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    why = f"; its config caps them at {cap} (final_logit_softcapping)" if cap else ""
    raise BridgeError(
        "CONTRACT_MISMATCH",
        "training would not rebuild this target's logits: they are not its last hidden state times its head",
        file=name,
        field="target.model",
        found=f"{type(model).__name__}: position {position}, token {token}: {difference:.2g} of the largest logit "
        f"apart, where {allowed:g} is rounding{why}",
        fix="use a target whose head is one matrix; nothing was captured",
    )
