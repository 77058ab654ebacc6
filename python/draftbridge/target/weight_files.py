"""The weight files of a model folder: which tensor lies where, and one tensor at a time."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from draftbridge.files.plain import path_of, read_text

_NAMES = ("model.safetensors", "pytorch_model.bin")
"""Safetensors first: where a folder holds both forms, transformers reads that one."""


class WeightFiles:
    """Reads `model.safetensors` or `pytorch_model.bin`, each in one piece or with an index over several."""

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError where the folder has no weights, ValueError for a file that cannot be read."""
        self._open: dict[Path, dict[str, Tensor]] = {}
        for name in _NAMES:
            if (folder / f"{name}.index.json").exists():
                index = json.loads(read_text(folder / f"{name}.index.json", follow=True))
                self.places = {tensor: folder / file for tensor, file in index["weight_map"].items()}
                return
            if (folder / name).exists():
                self.places = dict.fromkeys(self._names_in(folder / name), folder / name)
                return
        raise FileNotFoundError(f"neither {_NAMES[0]} nor {_NAMES[1]}, nor an index of one of them")

    def read(self, name: str) -> Tensor:
        file = self.places[name]
        if file.suffix == ".bin":
            return self._pickled(file)[name]
        with path_of(file, follow=True) as path, safe_open(path, framework="pt") as handle:
            tensor: Tensor = handle.get_tensor(name)
        return tensor

    def _names_in(self, file: Path) -> list[str]:
        if file.suffix == ".bin":
            return list(self._pickled(file))
        with path_of(file, follow=True) as path, safe_open(path, framework="pt") as handle:
            return list(handle.keys())

    def _pickled(self, file: Path) -> dict[str, Tensor]:
        if file not in self._open:
            try:
                with path_of(file, follow=True) as path:
                    found: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except (pickle.UnpicklingError, RuntimeError) as exc:
                raise ValueError(f"{file.name}: {str(exc).strip().splitlines()[0]}") from exc
            self._open[file] = {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
        return self._open[file]
