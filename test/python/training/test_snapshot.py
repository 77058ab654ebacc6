"""A snapshot is the run at its step, whatever trains on meanwhile; what cannot be written is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.distributed.share_draft import share_draft
from draftbridge.distributed.world import World, join, leave
from draftbridge.drafts import draft_files
from draftbridge.drafts.eagle3.draft import initial_draft
from draftbridge.files.plain import open_plain
from draftbridge.training.batch import Batch
from draftbridge.training.optimizer import Optimizer
from draftbridge.training.snapshot import FIRST, SECOND, Snapshot, Snapshots
from draftbridge.training.train_files import load_session, write_snapshot
from draftbridge.training.train_session import MicroStep, TrainSession
from small_case import CONFIG, MASKS, OPTIMIZER, TOTAL_STEPS, SmallCase, batch_of, ttt_settings

# On a GPU large enough that a copy takes longer than the optimiser's next step.
CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if CUDA else torch.device("cpu")
HIDDEN = 2048 if CUDA else 128
MICRO = MicroStep(11, 1, True, False)
UNREACHED = "STORE_UNAVAILABLE"


@pytest.fixture
def world() -> Iterator[World]:
    torch.set_num_threads(1)
    yield join(0, 1, torch.device("cpu"), "", 60)
    leave()


@pytest.fixture
def device_world() -> Iterator[World]:
    yield join(0, 1, DEVICE, "", 60)
    leave()


def training(world: World) -> tuple[TrainSession, Batch]:
    case = SmallCase(torch.float32)
    return case.session(world, ttt_settings(steps=2)), batch_of(case.sample(MASKS[0]))


def taken(session: TrainSession) -> Snapshot:
    snapshot = session.snapshot()
    assert snapshot is not None
    return snapshot


def state(session: TrainSession) -> dict[str, torch.Tensor]:
    found = {}
    for name, shard in session.draft.shards.items():
        first, second = session.optimizer.moments(name)
        found |= {name: shard.detach().clone(), FIRST + name: first.clone(), SECOND + name: second.clone()}
    return found


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_it_is_written_as_the_run_was_at_its_step_and_training_went_on(world: World, tmp_path: Path) -> None:
    session, batch = training(world)
    session.step(batch, MICRO)
    expected, random = state(session), torch.get_rng_state()
    snapshot = taken(session)
    session.step(batch, MICRO)
    torch.rand(5)
    write_snapshot(snapshot, tmp_path)
    snapshot.close()
    assert not same(state(session), expected), "the step after it must change something"
    again, _ = training(world)
    load_session(again, tmp_path)
    assert again.global_step == 1
    assert same(state(again), expected)
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("kind", ["fsdp", "replicate"])
def test_no_copy_sees_the_steps_that_follow(kind: str, device_world: World) -> None:
    config = replace(CONFIG, hidden_size=HIDDEN, intermediate_size=4 * HIDDEN, draft_vocab_size=CONFIG.vocab_size)
    draft = share_draft(initial_draft(config, 1), device_world, kind, half=False)
    optimizer = Optimizer(draft.shards, replace(OPTIMIZER, lr=0.1, warmup_ratio=0.0), TOTAL_STEPS)
    snapshots = Snapshots(device_world, draft, description=None)  # type: ignore[arg-type]
    no = torch.zeros((), dtype=torch.bool, device=DEVICE)

    def step(number: int) -> None:
        snapshots.wait_for_copy()
        gradients = {name: torch.full_like(shard, 0.1 * (number + 1)) for name, shard in draft.shards.items()}
        optimizer.step(gradients, torch.ones((), device=DEVICE), no, number)

    for number in range(3):
        step(2 * number)
        expected = {}
        for name, shard in draft.shards.items():
            first, second = optimizer.moments(name)
            expected |= {name: shard.detach().clone(), FIRST + name: first.clone(), SECOND + name: second.clone()}
        snapshot = snapshots.take(optimizer, number, no)
        assert snapshot is not None
        step(2 * number + 1)
        snapshot.settle()
        assert same(snapshot.tensors, {name: tensor.cpu() for name, tensor in expected.items()})
        snapshot.close()
    snapshots.close()


def test_its_buffer_is_used_again_and_never_by_two_snapshots(world: World, tmp_path: Path) -> None:
    session, batch = training(world)
    first = taken(session)
    places = {name: tensor.data_ptr() for name, tensor in first.tensors.items()}
    with pytest.raises(RuntimeError, match="still in use"):
        session.snapshot()
    first.close()
    session.step(batch, MICRO)
    second = taken(session)
    assert {name: tensor.data_ptr() for name, tensor in second.tensors.items()} == places
    assert same(second.tensors, state(session))
    second.close()
    session.close()


def test_a_run_whose_loss_was_not_finite_is_not_saved(world: World, tmp_path: Path) -> None:
    session, batch = training(world)
    session.step(batch, MICRO)
    batch.states["aux_hidden_state"][0, 0] = torch.nan
    with pytest.raises(BridgeError):
        session.step(batch, MICRO)
    snapshot = taken(session)
    with pytest.raises(BridgeError) as caught:
        write_snapshot(snapshot, tmp_path)
    assert (caught.value.code, caught.value.details["field"]) == ("FEATURE_INVALID", "loss")
    assert list(tmp_path.iterdir()) == []


def full(file: Path, patch: pytest.MonkeyPatch) -> None:
    def opened(wanted: Path, flags: int) -> int:
        return os.open("/dev/full", os.O_WRONLY) if wanted == file else open_plain(wanted, flags)

    patch.setattr(draft_files, "open_plain", opened)


def in_the_way(file: Path, _: pytest.MonkeyPatch) -> None:
    file.mkdir()


def planted(file: Path, _: pytest.MonkeyPatch) -> None:
    file.symlink_to(file.parent / "elsewhere")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "optimizer.safetensors", "rng-rank0.safetensors"])
@pytest.mark.parametrize(("harm", "code"), [(full, "STORE_FULL"), (in_the_way, UNREACHED), (planted, UNREACHED)])
def test_a_file_that_cannot_be_written_is_named(
    name: str, harm: Any, code: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _ = training(world)
    harm(tmp_path / name, monkeypatch)
    snapshot = taken(session)
    with pytest.raises(BridgeError) as caught:
        write_snapshot(snapshot, tmp_path)
    assert (caught.value.code, caught.value.details["file"]) == (code, str(tmp_path / name))
    assert not (tmp_path / "elsewhere").exists()
