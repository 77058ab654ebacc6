"""A draft with `fc_norm` and `norm_output`: its session, and its files as engines read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.distributed.world import World
from draftbridge.drafts.draft_files import load_draft
from draftbridge.drafts.eagle3.draft import DraftConfig
from draftbridge.drafts.eagle3.eagle3 import Eagle3
from draftbridge.training.train_files import load_session
from rank_worker import train
from safetensors.torch import load_file
from small_case import CONFIG, MASKS, SmallCase, batch_of, save, ttt_settings

SWITCHED = replace(CONFIG, fc_norm=True, norm_output=True)
NORMS = [f"fc_norm.{state}.weight" for state in range(3)]
TTT = ttt_settings(steps=3)


def saved(world: World, config: DraftConfig, folder: Path) -> dict[str, Any]:
    save(SmallCase(torch.float32, config=config).session(world, TTT), folder)
    found: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("kind", ["fsdp", "replicate"])
@pytest.mark.parametrize("fused", [False, True])
def test_it_trains_saves_and_goes_on_as_if_it_had_not_stopped(
    world: World, tmp_path: Path, kind: str, fused: bool
) -> None:
    case = SmallCase(torch.float32, config=SWITCHED)
    batch = batch_of(*(case.sample(mask) for mask in MASKS))
    first, second = (case.session(world, TTT, kind, fused=fused) for _ in range(2))
    train(first, [batch], 2)
    save(first, tmp_path)
    load_session(second, tmp_path)
    assert [row["loss"] for row in train(second, [batch], 2)] == [row["loss"] for row in train(first, [batch], 2)]
    stored = load_file(tmp_path / "model.safetensors")
    assert [stored[name].shape for name in NORMS] == [(CONFIG.hidden_size,)] * 3
    assert len({tuple(stored[name].tolist()) for name in NORMS}) == 3, "each was trained on its own"


@pytest.mark.parametrize("config", [CONFIG, SWITCHED, replace(CONFIG, norm_output=True)], ids=["off", "on", "output"])
def test_its_configuration_says_on_and_off_alike(world: World, tmp_path: Path, config: DraftConfig) -> None:
    """Off is written too: SpecForge reads a missing `norm_output` as true."""
    raw = saved(world, config, tmp_path)
    assert (raw["fc_norm"], raw["norm_output"]) == (config.fc_norm, config.norm_output)
    draft = load_draft(tmp_path, torch.float32, Eagle3())
    assert draft.config == config
    assert [name for name, _ in draft.module.named_parameters() if name.startswith("fc_norm")] == NORMS * config.fc_norm


@pytest.mark.parametrize(("config", "said"), [(CONFIG, True), (SWITCHED, False)], ids=["lacking", "unknown"])
def test_weights_that_contradict_fc_norm_are_named(
    world: World, tmp_path: Path, config: DraftConfig, said: bool
) -> None:
    raw = saved(world, config, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(raw | {"fc_norm": said}), "utf-8")
    with pytest.raises(BridgeError) as caught:
        load_draft(tmp_path, torch.float32, Eagle3())
    assert caught.value.code == "CHECKPOINT_INVALID"
    assert caught.value.details["field"] in NORMS
