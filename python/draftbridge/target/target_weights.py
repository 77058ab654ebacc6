"""The target's embedding and head, without the rest of the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.files.plain import path_of, read_text

_EMBED = ("model.embed_tokens.weight", "embed_tokens.weight", "transformer.wte.weight")
_HEAD = ("lm_head.weight",)
_NORM = ("model.norm.weight", "norm.weight")
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"


@dataclass(frozen=True)
class TargetWeights:
    """CPU tensors in the dtype of the file. `embed` and `head` [V, H] are one tensor where the target ties them."""

    embed: Tensor
    head: Tensor
    norm: Tensor | None


def load_target_weights(path: str | Path) -> TargetWeights:
    """Embedding, head and final norm of a model folder (safetensors) or a `.gguf` file, as transformers loads them.

    CONFIG_INVALID names the missing file or tensor.
    """
    path = Path(path)
    if not path.exists():
        raise _missing("The target model is not there.", path, "nothing at this path")
    try:
        return _from_gguf(path) if path.suffix == ".gguf" else _from_folder(path)
    except (SafetensorError, OSError, ValueError) as exc:
        raise _missing("The target model cannot be read.", path, str(exc)) from exc


def _missing(what: str, file: Path, found: str) -> BridgeError:
    fix = "set target.model to a model folder with safetensors files, or to a .gguf file"
    return BridgeError("CONFIG_INVALID", what, file=str(file), field="target.model", found=found, fix=fix)


def _from_folder(folder: Path) -> TargetWeights:
    places = _tensor_files(folder)
    embed = _read(folder, places, _EMBED)
    if embed is None:
        raise _missing("The target model has no token embedding.", folder, f"none of {', '.join(_EMBED)}")
    head = None if _ties(folder) else _read(folder, places, _HEAD)
    if head is None and not _ties(folder):
        raise _missing("The target model has no head.", folder, "no lm_head.weight, and its config ties no weights")
    return TargetWeights(embed, embed if head is None else head, _read(folder, places, _NORM))


def _ties(folder: Path) -> bool:
    file = folder / "config.json"
    if not file.exists():
        raise _missing("The target model has no configuration.", file, "no file")
    config = json.loads(read_text(file, follow=True))
    return bool(config.get("tie_word_embeddings", False))


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Which file holds which tensor."""
    if (folder / _INDEX).exists():
        index = json.loads(read_text(folder / _INDEX, follow=True))
        return {name: folder / file for name, file in index["weight_map"].items()}
    if not (folder / _SINGLE).exists():
        raise _missing("The target model has no weights.", folder, f"neither {_SINGLE} nor {_INDEX}")
    with path_of(folder / _SINGLE, follow=True) as path, safe_open(path, framework="pt") as handle:
        return dict.fromkeys(handle.keys(), folder / _SINGLE)


def _read(folder: Path, places: dict[str, Path], names: tuple[str, ...]) -> Tensor | None:
    for name in names:
        file = places.get(name)
        if file is None:
            continue
        if not file.exists():
            raise _missing("A weight file of the target model is missing.", file, f"no file, {name} should be in it")
        with path_of(file, follow=True) as path, safe_open(path, framework="pt") as handle:
            tensor: Tensor = handle.get_tensor(name)
        return tensor
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
