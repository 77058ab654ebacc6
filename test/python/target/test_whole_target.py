"""A target that is not what its folder says is refused before anything is captured."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.target.logit_probe import probe_loaded
from draftbridge.target.target import identity, load_model
from safetensors.torch import load_file, save_file


@pytest.fixture
def copy(tiny_target: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_target, tmp_path / "target"))


def with_weights(target: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> str:
    file = target / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return str(target)


def test_a_weight_that_is_in_no_file_is_refused_and_not_made_up(copy: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["model.layers.2.mlp.down_proj.weight"]

    path = with_weights(copy, drop)
    with pytest.raises(BridgeError, match="weights are missing") as raised:
        load_model(path, torch.float32)
    assert "model.layers.2.mlp.down_proj.weight" in raised.value.details["found"]


@pytest.mark.parametrize(("more", "what"), [(2, "weights are missing"), (-2, "more than")])
def test_a_configuration_that_counts_other_layers_than_the_files_is_refused(copy: Path, more: int, what: str) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["num_hidden_layers"] += more
    config.pop("layer_types", None)
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BridgeError, match=what):
        load_model(str(copy), torch.float32)


def test_a_whole_target_is_loaded(copy: Path) -> None:
    assert load_model(str(copy), torch.float32).config.num_hidden_layers > 2


def test_a_weight_that_is_no_number_is_called_that(copy: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.0.mlp.down_proj.weight"][0, 0] = float("nan")

    model = load_model(with_weights(copy, spoil), torch.float32)
    with pytest.raises(BridgeError, match=re.escape("values that are no numbers")):
        probe_loaded(model, [0])


def test_the_identity_sees_a_change_in_the_middle_of_a_large_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    file = tmp_path / "model.safetensors"
    weights = bytearray(64 << 20)
    file.write_bytes(weights)
    before = identity(str(tmp_path))
    # One layer of many: a merged adapter changes no less.
    weights[20 << 20 : 24 << 20] = b"\x01" * (4 << 20)
    file.write_bytes(weights)
    assert identity(str(tmp_path)) != before
