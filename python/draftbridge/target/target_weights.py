"""The target's embedding and head, without the rest of the model."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.files.plain import read_text
from draftbridge.target.weight_files import WeightFiles

_EMBED = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight", "tok_embeddings.weight")
_HEAD = ("lm_head.weight", "embed_out.weight")
_NORM = ("model.norm.weight", "language_model.norm.weight", "norm.weight")
_LAYER_NORM = ("norm.bias", "final_layernorm.weight", "ln_f.weight", "final_layer_norm.weight")
_OFFSET_NORMS = ("gemma", "gemma2", "gemma3", "gemma3_text")
_DIVIDES, _MULTIPLIES = ("logits_scaling",), ("logit_scale", "lm_head_multiplier")


@dataclass(frozen=True)
class TargetWeights:
    """CPU tensors in the dtype of the file.

    `embed` and `head` [V, H] are one tensor where the target ties them. `head` gives the target's logits as they are:
    what the target multiplies them by is in it. `norm` [H]: the weight of the final RMSNorm, None for another norm.
    """

    embed: Tensor
    head: Tensor
    norm: Tensor | None


def load_target_weights(path: str | Path) -> TargetWeights:
    """Embedding, head and final norm of a model folder or a `.gguf` file, as transformers loads them.

    CONFIG_INVALID names the missing file or tensor.
    """
    path = Path(path)
    if not path.exists():
        raise _missing("The target model is not there.", path, "nothing at this path")
    try:
        return _from_gguf(path) if path.suffix == ".gguf" else _from_folder(path)
    except FileNotFoundError as exc:
        raise _missing("The target model has no weights.", path, str(exc)) from exc
    except (SafetensorError, OSError, ValueError) as exc:
        raise _missing("The target model cannot be read.", path, str(exc)) from exc


def _missing(what: str, file: Path, found: str) -> BridgeError:
    fix = "set target.model to a model folder with safetensors files, or to a .gguf file"
    return BridgeError("CONFIG_INVALID", what, file=str(file), field="target.model", found=found, fix=fix)


def _from_folder(folder: Path) -> TargetWeights:
    config = _config(folder)
    files = WeightFiles(folder)
    embed = _read(files, _EMBED)
    if embed is None:
        raise _missing("The target model has no token embedding.", folder, f"none of {', '.join(_EMBED)}")
    ties = _ties(folder, config)
    head = None if ties else _read(files, _HEAD)
    if head is None and not ties:
        raise _missing("The target model has no head.", folder, "no lm_head.weight, and its config ties no weights")
    return TargetWeights(embed, _scaled(embed if head is None else head, config), _norm(files, config))


def _config(folder: Path) -> dict[str, Any]:
    """Of the text model: multimodal folders hold it in a section."""
    file = folder / "config.json"
    if not file.exists():
        raise _missing("The target model has no configuration.", file, "no file")
    whole: dict[str, Any] = json.loads(read_text(file, follow=True))
    text = whole.get("text_config")
    return {**whole, **text} if isinstance(text, dict) else whole


def _ties(folder: Path, config: dict[str, Any]) -> bool:
    if "tie_word_embeddings" in config:
        return bool(config["tie_word_embeddings"])
    if "model_type" not in config:
        return False
    # The class decides. Imported here: it takes seconds, and most files say it.
    from draftbridge.target.target import load_config

    return bool(load_config(str(folder)).tie_word_embeddings)


def _scaled(head: Tensor, config: dict[str, Any]) -> Tensor:
    scale = 1.0
    for name in _MULTIPLIES:
        scale *= float(config.get(name) or 1.0)
    for name in _DIVIDES:
        scale /= float(config.get(name) or 1.0)
    return head if scale == 1.0 else head * scale


def _norm(files: WeightFiles, config: dict[str, Any]) -> Tensor | None:
    if _named(files.places, _LAYER_NORM) is not None:
        return None
    norm = _read(files, _NORM)
    # Gemma stores how much its weight differs from one.
    is_offset = config.get("model_type") in _OFFSET_NORMS
    return norm + 1 if norm is not None and is_offset else norm


def _read(files: WeightFiles, endings: tuple[str, ...]) -> Tensor | None:
    name = _named(files.places, endings)
    if name is None:
        return None
    file = files.places[name]
    if not file.exists():
        raise _missing("A weight file of the target model is missing.", file, f"no file, {name} should be in it")
    return files.read(name)


def _named(names: Iterable[str], endings: tuple[str, ...]) -> str | None:
    """The tensor of the text model with such a name; a layer and another modality have names of their own."""
    known = [name for name in names if ".layers." not in name and "vision" not in name and "audio" not in name]
    for ending in endings:
        found = [name for name in known if name == ending or name.endswith(f".{ending}")]
        if found:
            return min(found, key=len)
    return None


def _from_gguf(file: Path) -> TargetWeights:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    stored = {tensor.name: tensor for tensor in GGUFReader(str(file)).tensors}

    def read(name: str) -> Tensor | None:
        if name not in stored:
            return None
        # The reader maps the file read-only; torch wants memory of its own.
        return torch.from_numpy(dequantize(stored[name].data, stored[name].tensor_type).copy())

    embed = read("token_embd.weight")
    if embed is None:
        raise _missing("The target model has no token embedding.", file, "no token_embd.weight")
    head = read("output.weight")
    return TargetWeights(embed, embed if head is None else head, read("output_norm.weight"))
