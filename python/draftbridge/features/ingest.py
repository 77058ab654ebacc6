"""Reads feature files as samples, one file per sample, in any layout of layouts.py.

Ids and mask are [n] or [1, n], of any type that holds whole numbers or yes and no. States are [n, width] or
[1, n, width]; for EAGLE3 `hidden_state` is H wide and `aux_hidden_state` 3H.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE, TensorDict, minted
from draftbridge.bridge.registry import Payload, op
from draftbridge.features import judged, token_counts
from draftbridge.features.feature_file import invalid, opened
from draftbridge.features.layouts import Form, named_tensors
from draftbridge.features.mask_rows import MaskRows, has_masks, open_masks
from draftbridge.features.tensor_places import CannotStay, Stamp, places_of

# Imported to register its ops: the host imports only this module, and a producer needs the ops of both.
from draftbridge.objects import content_file
from draftbridge.objects.finite import require_finite

__all__ = ["content_file", "encoded", "judged", "load_features", "token_counts"]

_IDS = ("input_ids", "loss_mask")
_WHOLE = (torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.uint64, torch.bool)
_STATE_DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def load_features(file: str, max_length: int, form: Form) -> tuple[TensorDict, bool]:
    """The sample in `file`, truncated at `max_length` tokens (0: no limit), and whether it was truncated.

    Returns `input_ids`, `loss_mask`
    int64 [n] and the states [n, layers * H], each in its own memory. Raises FEATURE_INVALID, which names file and
    field, for any other content.
    """
    with opened(file, mapped=False) as content:
        whole, kept = _checked_tensors(content, file, max_length, form)
        sample = {name: _own_memory(tensor[:kept]) for name, tensor in whole.items()}
    _check_ids(sample, file)
    require_finite(sample, tuple(form.layers), file)
    return sample, kept < len(whole["input_ids"])


def _own_memory(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` itself if it fills its storage in order, or else a copy."""
    fills = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor.detach() if fills else tensor.detach().clone()


@dataclass(frozen=True)
class InPlace:
    """A sample whose states map its file; or one whose states were copied, with the reason."""

    sample: TensorDict
    truncated: bool
    stamp: Stamp
    offsets: dict[str, int]
    """Offsets of the states in the file. Empty if they were copied."""
    copied: str | None
    """Why the states were copied; None if they map the file."""


def load_in_place(file: str, max_length: int, form: Form) -> InPlace:
    """Like `load_features`, but the states map the file if it stores them unchanged.

    Mapped states are not checked to be finite here: the write that computes their digests does that. A sample without
    loss tokens is never written, so it is checked here.
    """
    stamp, offsets, copied = Stamp.of(file), {}, None
    with opened(file, mapped=True) as content:
        whole, kept = _checked_tensors(content, file, max_length, form)
        sample = {name: tensor[:kept] for name, tensor in whole.items()}
        try:
            offsets = places_of(file, {name: whole[name] for name in form.layers}, kept)
        except CannotStay as exc:
            copied = str(exc)
        copies = _IDS if copied is None else tuple(sample)
        sample |= {name: sample[name].clone() for name in copies}
    _check_ids(sample, file)
    if copied is not None or _loss_tokens(sample) == 0:
        require_finite(sample, tuple(form.layers), file)
    if Stamp.of(file) != stamp:
        raise invalid(file, "the feature file changed while it was read", found="another size, time or file")
    return InPlace(sample, kept < len(whole["input_ids"]), stamp, offsets, copied)


def _checked_tensors(content: Any, file: str, max_length: int, form: Form) -> tuple[TensorDict, int]:
    """The checked tensors of the file, in full length, and the number of rows to keep."""
    whole = _named_tensors(content, file, form)
    length = _length(whole, file, form.layers)
    return whole, min(length, max_length) if max_length else length


def encoded(sample: TensorDict, truncated: bool) -> Payload:
    """The reply for a new sample: `Encoded` in src/bridge/ingest-ops.ts."""
    tokens = {"numTokens": len(sample["input_ids"]), "lossTokens": _loss_tokens(sample)}
    return {"set": minted(sample), **tokens, "truncated": truncated}


def _loss_tokens(sample: TensorDict) -> int:
    """The number of loss tokens. The last token has no next token to predict, so its mask does not count."""
    return int(sample["loss_mask"][:-1].sum())


def _named_tensors(content: Any, file: str, form: Form) -> TensorDict:
    """Ids, mask and states, without the leading axis of length 1 that they may have in the file."""
    states = form.layers
    if not isinstance(content, dict):
        raise invalid(file, "the file does not contain a dict of tensors", found=type(content).__name__)
    found = named_tensors(content, file, form)
    for name in (*_IDS, *states):
        if name not in found:
            present = ", ".join(sorted(str(key) for key in content))[:200]
            raise invalid(file, "a tensor of the feature file is missing", field=name, found=present or "nothing")
    tensors = {name: _plain(found[name], name, file) for name in (*_IDS, *states)}
    for name, tensor in tensors.items():
        rank = 2 if name in states else 1
        if tensor.ndim == rank + 1 and tensor.shape[0] == 1:
            tensors[name] = tensor[0]
    for name in _IDS:
        # Whatever whole numbers or yes and no the file holds: the values are looked at later.
        if tensors[name].dtype in _WHOLE:
            tensors[name] = tensors[name].to(torch.int64)
    return tensors


def _plain(value: Any, name: str, file: str) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise invalid(file, "this is not a tensor", field=name, found=type(value).__name__)
    if value.layout is not torch.strided or value.device.type != "cpu":
        raise invalid(file, "this is not a dense CPU tensor", field=name, found=f"{value.layout} on {value.device}")
    # A view with stride 0 can have more rows than the file has bytes for. A copy of it could use up the memory.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        found = f"{list(value.shape)} over {value.untyped_storage().nbytes()} bytes"
        raise invalid(file, "the tensor is larger than its stored bytes", field=name, found=found)
    return value


def _length(tensors: TensorDict, file: str, layers: Mapping[str, int]) -> int:
    """The number of tokens. Raises FEATURE_INVALID unless dtypes and shapes are those of one sample."""
    for name in _IDS:
        if tensors[name].dtype != torch.int64:
            raise invalid(file, "wrong dtype", field=name, found=f"{tensors[name].dtype}; expected whole numbers")
        if tensors[name].ndim != 1:
            raise invalid(file, "wrong shape", field=name, found=f"{list(tensors[name].shape)}; expected [S]")
    length = len(tensors["input_ids"])
    if length == 0:
        raise invalid(file, "the sample has no tokens", field="input_ids", found="[0]")
    for name in layers:
        _check_state(tensors[name], name, file)
    _check_alike(tensors, layers, file)
    for name, tensor in tensors.items():
        if len(tensor) != length:
            found = f"{len(tensor)} rows; input_ids has {length}"
            raise invalid(file, "the lengths do not agree", field=name, found=found)
    return length


def _check_state(state: torch.Tensor, name: str, file: str) -> None:
    if state.dtype not in _STATE_DTYPES:
        expected = " or ".join(map(str, _STATE_DTYPES))
        raise invalid(file, "wrong dtype", field=name, found=f"{state.dtype}; expected {expected}")
    if state.ndim != 2 or state.shape[1] == 0:
        raise invalid(file, "wrong shape", field=name, found=f"{list(state.shape)}; expected [1, S, width]")


def _check_alike(tensors: TensorDict, layers: Mapping[str, int], file: str) -> None:
    """All states have the dtype of the first one, and are as wide as their number of hidden states says."""
    first = next(iter(layers))
    dtype, width = tensors[first].dtype, tensors[first].shape[1]
    if width % layers[first] != 0:
        raise invalid(file, "wrong width", field=first, found=f"width {width}; it holds {layers[first]} hidden states")
    for name, count in layers.items():
        state, expected = tensors[name], width // layers[first] * count
        if state.dtype != dtype:
            raise invalid(file, "wrong dtype", field=name, found=f"{state.dtype}; {first} has {dtype}")
        if state.shape[1] != expected:
            found = f"width {state.shape[1]}; by that of {first} it is {expected}"
            raise invalid(file, "wrong width", field=name, found=found)


def _check_ids(sample: TensorDict, file: str) -> None:
    lowest = int(sample["input_ids"].min())
    if lowest < 0:
        raise invalid(file, "a token id is negative", field="input_ids", found=str(lowest))
    odd = sample["loss_mask"][(sample["loss_mask"] != 0) & (sample["loss_mask"] != 1)]
    if len(odd):
        raise invalid(file, "the mask has values other than 0 and 1", field="loss_mask", found=str(int(odd[0])))


@op("masks.open", "io")
def _open_masks(payload: Payload) -> Payload:
    named, near = payload["path"], [folder for folder in payload["near"] if has_masks(folder)]
    if named is None and not near:
        return {"handle": None, "path": "", "rows": 0, "digest": ""}
    path = str(near[0] if named is None else named)
    masks = open_masks(path)
    return {"handle": TABLE.mint(masks), "path": path, "rows": len(masks), "digest": masks.digest}


@op("ckpt.load", "bulk")
def _load(payload: Payload) -> Payload:
    file, limit = str(payload["path"]), payload["maxLength"]
    masks = None if payload["masks"] is None else TABLE.borrow(payload["masks"], MaskRows)
    form = Form(payload["layers"], payload["layout"], payload["final"], masks)
    try:
        if payload["inPlace"]:
            return _in_place(load_in_place(file, limit, form))
        return {**encoded(*load_features(file, limit, form)), "extern": None, "copied": None}
    except OSError as exc:
        raise BridgeError(
            "FEATURE_INVALID",
            "the feature file cannot be read",
            file=file,
            found=f"{type(exc).__name__}: {exc.strerror}",
            fix="check the permissions; for .gz, check that TMPDIR has enough free space for the unpacked file",
        ) from exc


def _in_place(found: InPlace) -> Payload:
    stamp = {"size": found.stamp.size, "mtimeNs": str(found.stamp.mtime_ns), "offsets": found.offsets}
    extern = stamp if found.copied is None else None
    return {**encoded(found.sample, found.truncated), "extern": extern, "copied": found.copied}
