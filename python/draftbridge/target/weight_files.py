"""The tensors of a model folder by name, read one at a time from safetensors or pickled files, whole or in shards."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.files.plain import path_of, read_text

# In the order in which transformers looks for them.
_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def missing(what: str, file: Path, found: str) -> BridgeError:
    """CONFIG_INVALID for a target whose weights cannot be used."""
    fix = "set target.model to a model folder with weight files that transformers loads, or to a .gguf file"
    return BridgeError("CONFIG_INVALID", what, file=str(file), field="target.model", found=found, fix=fix)


@dataclass(frozen=True)
class WeightFiles:
    """Which file of a folder holds which tensor."""

    folder: Path
    places: dict[str, Path]

    def read(self, names: Iterable[str]) -> Tensor | None:
        """The first of `names` that is stored, on the CPU. None if there is none of them."""
        for name in names:
            file = self.places.get(name)
            if file is None:
                continue
            if not file.exists():
                raise missing("A weight file of the target model is missing.", file, f"no file, {name} should be in it")
            return _from_safetensors(file, name) if file.suffix == ".safetensors" else _from_pickled(file, name)
        return None


def weight_files(folder: Path) -> WeightFiles:
    """CONFIG_INVALID if the folder has no weights."""
    for name in (*_SAFETENSORS, *_PICKLED):
        file = folder / name
        if file.exists():
            return WeightFiles(folder, _indexed(file) if file.suffix == ".json" else dict.fromkeys(_names(file), file))
    looked = ", ".join((*_SAFETENSORS, *_PICKLED))
    raise missing("The target model has no weights.", folder, f"none of {looked}")


def _indexed(index: Path) -> dict[str, Path]:
    content = json.loads(read_text(index, follow=True))
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise missing("The index of the target's weights cannot be used.", index, "no weight_map of file names")
    outside = next((shard for shard in shards.values() if Path(shard).name != shard), None)
    if outside is not None:
        raise missing("The index of the target's weights names a file outside its folder.", index, outside)
    return {name: index.parent / shard for name, shard in shards.items()}


def _names(file: Path) -> list[str]:
    if file.suffix != ".safetensors":
        return list(_pickled(file))
    with path_of(file, follow=True) as path, safe_open(path, framework="pt") as handle:
        return list(handle.keys())


def _from_safetensors(file: Path, name: str) -> Tensor:
    with path_of(file, follow=True) as path, safe_open(path, framework="pt") as handle:
        tensor: Tensor = handle.get_tensor(name)
    return tensor


def _from_pickled(file: Path, name: str) -> Tensor:
    tensors = _pickled(file)
    if name not in tensors:
        raise missing("A tensor of the target model is missing.", file, f"the index says that it holds {name}")
    # Memory of its own: the file must not stay mapped.
    return tensors[name].detach().clone()


def _pickled(file: Path) -> dict[str, Tensor]:
    """All tensors of the file, mapped where its format allows it. Nothing but tensors is ever unpickled."""
    try:
        with path_of(file, follow=True) as path:
            try:
                found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError:
                # Files of torch before 1.6 cannot be mapped.
                found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as exc:
        raise missing(
            "A weight file of the target model cannot be read.", file, str(exc).splitlines()[0][:300]
        ) from exc
    if not isinstance(found, dict):
        raise missing("A weight file of the target model holds no tensors by name.", file, type(found).__name__)
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
