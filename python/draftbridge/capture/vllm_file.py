"""Reads a file of hidden states that vLLM's ExampleHiddenStatesConnector wrote for one sample."""

from __future__ import annotations

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.features.feature_file import invalid
from draftbridge.features.safetensors_file import DamagedFile, read_safetensors

_FIX = "look into the log of vLLM; if it was another version of vLLM that wrote files of this form, name that one"


def states_in(file: str, ids: Tensor, layers: int, width: int, dtype: torch.dtype) -> Tensor:
    """The states [n, layers, width] of the sample `ids` (int64 [n]) in `file`, in memory of their own.

    FEATURE_INVALID unless the file holds these tokens and states of this form in `dtype`.
    """
    try:
        content = read_safetensors(file)
    except (DamagedFile, OSError) as exc:
        fix = "check that the scratch folder (target.vllm.scratch) has enough free space"
        raise invalid(file, "vLLM left no whole file of hidden states", found=str(exc)[:300], fix=fix) from exc
    _require_tokens(content.get("token_ids"), ids, file)
    states, expected = content.get("hidden_states"), [len(ids), layers, width]
    if states is None or list(states.shape) != expected or states.dtype != dtype:
        found = "none" if states is None else f"{list(states.shape)} {states.dtype}"
        what = "vLLM wrote states of another form"
        raise invalid(file, what, field="hidden_states", found=f"{found}; expected {expected} {dtype}", fix=_FIX)
    return states


def _require_tokens(stored: Tensor | None, ids: Tensor, file: str) -> None:
    if stored is not None and stored.shape == ids.shape and bool((stored == ids).all()):
        return
    raise _other_tokens(stored, ids, file)


def _other_tokens(stored: Tensor | None, ids: Tensor, file: str) -> BridgeError:
    found = "none"
    if stored is not None and stored.shape != ids.shape:
        found = f"{list(stored.shape)} tokens; {list(ids.shape)} were sent"
    elif stored is not None:
        at = int((stored != ids).nonzero()[0])
        found = f"token {int(stored[at])} at position {at}; {int(ids[at])} was sent"
    return invalid(file, "vLLM wrote the states of other tokens", field="token_ids", found=found, fix=_FIX)
