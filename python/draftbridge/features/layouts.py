"""The layouts of feature files that other programs write, and what each of them holds for one sample.

- `specforge`: `input_ids`, `loss_mask` and the states by the names that the draft has for them, as
  `scripts/prepare_hidden_states.py` in github.com/sgl-project/SpecForge writes them.
- `speculators`: `token_ids` [n] and `hidden_states` [n, layers, H], as vLLM's `extract_hidden_states` writes them for
  github.com/vllm-project/speculators. The last layer is the last hidden state, before the final norm. The mask is in
  the data set that the tokens came from, unless the file has one.
- `torchspec`: `input_ids` [1, n], `hidden_states` [1, n, layers * H], `last_hidden_states` [1, n, H] and
  `packed_loss_mask`, as github.com/lightseekorg/TorchSpec writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from draftbridge.features.feature_file import invalid
from draftbridge.features.mask_rows import MaskRows

Layout = Literal["specforge", "speculators", "torchspec"]
Content = dict[Any, Any]

_HALF = torch.bfloat16
_BY_INDEX = re.compile(r"hs_([0-9]{1,15})\.safetensors")


def layout_of(content: Any) -> Layout | None:
    """The layout that the names in a file tell; None if they are those of none."""
    if not isinstance(content, dict):
        return None
    names = {str(name) for name in content}
    if "hidden_states" not in names:
        return "specforge" if {"input_ids", "loss_mask"} <= names else None
    if "token_ids" in names:
        return "speculators"
    if "input_ids" not in names:
        return None
    return "torchspec" if names & {"last_hidden_states", "packed_loss_mask"} else "speculators"


@dataclass(frozen=True)
class Form:
    """How the files of an ingest are read."""

    layers: Mapping[str, int]
    """For each state of the sample how many hidden states (H wide) lie side by side in it."""
    layout: Layout = "specforge"
    final: str | None = None
    """The state that is the last hidden state, which some layouts know by its place."""
    masks: MaskRows | None = None


def named_tensors(content: Content, file: str, form: Form) -> dict[str, Any]:
    """What `content` holds under our names: ids, mask and the states of `form`, views where possible.

    Names that the file lacks are missing. Values are as in the file, so they may be anything. Raises FEATURE_INVALID
    for content that this layout cannot hold.
    """
    found = layout_of(content)
    if found is not None and found != form.layout:
        fix = f"ingest the files of each layout in a run of their own: --as {found}"
        raise invalid(file, "the file has another layout than the others", found=f"{found}, not {form.layout}", fix=fix)
    if form.layout == "specforge":
        return {name: content[name] for name in ("input_ids", "loss_mask", *form.layers) if name in content}
    return (_speculators if form.layout == "speculators" else _torchspec)(content, file, form)


def _speculators(content: Content, file: str, form: Form) -> dict[str, Any]:
    if "hidden_states" not in content:
        return {}
    found = {"input_ids": content.get("token_ids", content.get("input_ids"))}
    found["loss_mask"] = content["loss_mask"] if "loss_mask" in content else _mask(found["input_ids"], file, form.masks)
    states, wanted = _stacked(content, file), sum(form.layers.values())
    if list(form.layers) == [form.final]:
        states = states[:, -1:]
    if states.shape[1] != wanted:
        what = "the file has another number of layers than the draft reads"
        fix = "name the captured layers in draft.config, or capture the draft's layers and the last one"
        found_layers = f"{states.shape[1]} layers; the draft reads {wanted}, the last one included"
        raise invalid(file, what, field="hidden_states", found=found_layers, fix=fix)
    return {**found, **_split(states.flatten(1), form)}


def _split(rows: torch.Tensor, form: Form) -> dict[str, Any]:
    """`rows` [n, layers * H], the last hidden state last: views of the columns of each state."""
    width, at, found = rows.shape[1] // sum(form.layers.values()), 0, {}
    for name in sorted(form.layers, key=lambda name: name == form.final):
        end = at + form.layers[name] * width
        found[name], at = rows[:, at:end], end
    return found


def _stacked(content: Content, file: str) -> torch.Tensor:
    """[n, layers, H], in half precision if the file stores FP8 with a scale for each token."""
    states = content["hidden_states"]
    if isinstance(states, list) and states and all(isinstance(each, torch.Tensor) for each in states):
        if any(each.shape != states[0].shape or each.dtype != states[0].dtype for each in states):
            raise invalid(file, "the layers differ", field="hidden_states", found="layers of several shapes or dtypes")
        states = torch.stack(states, dim=-2)
    if not isinstance(states, torch.Tensor) or states.ndim != 3 or 0 in states.shape:
        shape = list(states.shape) if isinstance(states, torch.Tensor) else type(states).__name__
        raise invalid(file, "wrong shape", field="hidden_states", found=f"{shape}; expected [S, layers, H]")
    return _widened(states, content.get("hidden_states_scales"), file)


def _widened(states: torch.Tensor, scales: Any, file: str) -> torch.Tensor:
    if states.dtype != torch.float8_e4m3fn:
        return states
    if not isinstance(scales, torch.Tensor) or scales.shape[:1] != states.shape[:1] or scales[0].numel() != 1:
        found = list(scales.shape) if isinstance(scales, torch.Tensor) else "no scales"
        expected = f"{found}; expected [S, 1, 1]"
        raise invalid(file, "states in FP8 need a scale for each token", field="hidden_states_scales", found=expected)
    # As the program that wrote them reads them: both in half precision.
    return states.to(_HALF) * scales.reshape(-1, 1, 1).to(_HALF)


def _mask(ids: Any, file: str, masks: MaskRows | None) -> torch.Tensor:
    if masks is None or not isinstance(ids, torch.Tensor):
        fix = "name the data set that the tokens came from in features.masks"
        raise invalid(file, "the file has no mask", field="loss_mask", found="no data set with masks", fix=fix)
    by_index = _BY_INDEX.fullmatch(Path(file).name)
    return masks.mask_for(ids, None if by_index is None else int(by_index[1]), file)


def _torchspec(content: Content, file: str, form: Form) -> dict[str, Any]:
    found = {"input_ids": content["input_ids"]} if "input_ids" in content else {}
    if isinstance(content.get("loss_mask"), torch.Tensor):
        found["loss_mask"] = content["loss_mask"]
    elif content.get("packed_loss_mask") is not None:
        found["loss_mask"] = unpacked_mask(content["packed_loss_mask"], file)
    names = {name: "last_hidden_states" if name == form.final else "hidden_states" for name in form.layers}
    return {**found, **{name: content[theirs] for name, theirs in names.items() if theirs in content}}


def unpacked_mask(packed: Any, file: str) -> torch.Tensor:
    """int64 [n] of the lengths of runs `0s,1s,0s,...`. Raises FEATURE_INVALID for anything else."""
    if not isinstance(packed, str) or not re.fullmatch(r"[0-9]{1,12}(,[0-9]{1,12})*", packed):
        found = packed[:80] if isinstance(packed, str) else type(packed).__name__
        raise invalid(file, "the packed mask cannot be read", field="packed_loss_mask", found=repr(found))
    runs = torch.tensor([int(run) for run in packed.split(",")])
    if int(runs.sum()) > 1 << 26:
        raise invalid(file, "the packed mask is longer than any sample", field="packed_loss_mask", found=packed[:80])
    return torch.repeat_interleave(torch.arange(len(runs)) % 2, runs)
