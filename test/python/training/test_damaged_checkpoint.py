"""A damaged checkpoint is named, and nothing of the session has changed then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.distributed.world import World
from draftbridge.training.train_files import load_session
from rank_worker import session_of
from safetensors.torch import load_file, save_file
from small_case import save


def damage_missing(folder: Path) -> str:
    (folder / "optimizer.safetensors").unlink()
    return "optimizer.safetensors"


def damage_cut(folder: Path) -> str:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    return "model.safetensors"


def damage_tensor(folder: Path) -> str:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["norm.weight"]
    save_file(tensors, file)
    return "norm.weight"


def damage_shape(folder: Path) -> str:
    file = folder / "optimizer.safetensors"
    tensors = load_file(file)
    save_file(tensors | {"exp_avg.norm.weight": torch.zeros(3)}, file, {"worldSize": "1"})
    return "exp_avg.norm.weight"


def damage_vocabulary(folder: Path) -> str:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["d2t"][0] -= 1
    save_file(tensors, file)
    return "d2t"


def damage_rng(folder: Path) -> str:
    (folder / "rng-rank0.safetensors").unlink()
    return "rng-rank0.safetensors"


def damage_config(folder: Path) -> str:
    (folder / "config.json").write_text("{")
    return "config.json"


DAMAGES = (
    damage_missing,
    damage_cut,
    damage_tensor,
    damage_shape,
    damage_vocabulary,
    damage_rng,
    damage_config,
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_a_damaged_checkpoint_is_named_and_changes_nothing(damage: Any, world: World, tmp_path: Path) -> None:
    session, _ = session_of("fsdp", world)
    save(session, tmp_path)
    named = damage(tmp_path)
    before = [shard.detach().clone() for shard in session.draft.shards.values()]
    with pytest.raises(BridgeError) as caught:
        load_session(session, tmp_path)
    assert caught.value.code == "CHECKPOINT_INVALID"
    assert named in f"{caught.value.details['file']} {caught.value.details.get('field')}"
    assert all(torch.equal(a, b) for a, b in zip(before, session.draft.shards.values(), strict=True))
