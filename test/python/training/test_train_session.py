"""Sessions: one rank equals two, stopping and resuming are exact, bad checkpoints are named."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.distributed.world import World, choose_device
from draftbridge.drafts.draft_files import load_draft
from draftbridge.drafts.eagle3.eagle3 import Eagle3
from draftbridge.settings.train_settings import TttSettings
from draftbridge.training.optimizer import rate
from draftbridge.training.train_files import load_session
from draftbridge.training.train_session import MicroStep, TrainSession
from rank_worker import TTT, session_of, train, validated
from safetensors.torch import load_file
from small_case import CONFIG, LAYOUT, MASKS, OPTIMIZER, SmallCase, batch_of, save, ttt_settings

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """What two ranks found, each a process, and the folder with the checkpoint that they saved."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = os.pathsep.join((str(HERE.parents[1] / "python"), str(HERE)))
    command = [sys.executable, str(HERE / "rank_worker.py")]
    running = [
        subprocess.Popen([*command, str(rank), str(port), str(folder)], env={**os.environ, "PYTHONPATH": paths})
        for rank in range(2)
    ]
    assert [process.wait(120) for process in running] == [0, 0]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)], folder


def test_all_ranks_learn_how_many_samples_were_lost_and_which(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    for rank in ranks[0]:
        assert rank["lost"] == 5
        assert rank["unions"] == [[3, 7], [1, 9], []]


def test_all_ranks_learn_which_checkpoint_is_complete(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    assert [rank["saved"] for rank in ranks[0]] == [40, 40]


@pytest.mark.parametrize("ttt", [ttt_settings(steps=3), ttt_settings(steps=3, reduction="masked", loss="lk-alpha")])
def test_a_lost_sample_trains_as_one_without_a_trained_token(world: World, ttt: TttSettings) -> None:
    trained = []
    for lost in (True, False):
        case = SmallCase(torch.float64)
        kept, other = case.sample(MASKS[0]), case.sample([0] * 7)
        session = case.session(world, ttt)
        session.step(batch_of(kept) if lost else batch_of(kept, other), MicroStep(22, 1, True, False))
        trained.append(weights(session))
    for mine, theirs in zip(*trained, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["fsdp", "replicate"])
def test_a_step_that_lost_every_sample_is_a_step_without_a_gradient(world: World, kind: str) -> None:
    session = SmallCase(torch.float32).session(world, ttt_settings(steps=3, reduction="masked", loss="lk-lambda"), kind)
    before = weights(session)
    report = session.step(LAYOUT.empty_batch(), MicroStep(22, 1, True, False, lost=1))
    assert (report.global_step, report.lost) == (1, 1)
    metrics = session.read_metrics()
    assert (metrics["loss"], metrics["gradNorm"], metrics["tokens"]) == (0, 0, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(session), strict=True))


def weights(session: TrainSession) -> list[torch.Tensor]:
    return [shard.detach().clone() for shard in session.draft.shards.values()]


@pytest.mark.parametrize("name", list(TTT))
def test_two_ranks_train_as_one_does_on_the_same_global_batch(
    name: str, world: World, ranks: tuple[list[dict[str, Any]], Path]
) -> None:
    session, batches = session_of(name, world)
    alone = train(session, batches, 3)
    for rank in ranks[0]:
        for found, expected in zip(rank[name], alone, strict=True):
            assert found.keys() == expected.keys()
            for key in ("loss", "gradNorm", "ploss", "acc", "acceptanceRate"):
                assert found[key] == pytest.approx(expected[key], rel=1e-5)
            assert (found["tokens"], found["lossTokens"]) == (expected["tokens"], expected["lossTokens"])


@pytest.mark.parametrize("fused", ["fused", "starved fused", "lost fused"])
def test_a_fused_session_trains_as_a_plain_one(fused: str, world: World) -> None:
    trained = []
    for plain in (False, True):
        session, batches = session_of(fused, world)
        if plain:
            session = SmallCase(torch.float32).session(world, TTT[fused])
        trained.append(train(session, batches, 3))
    for found, expected in zip(*trained, strict=True):
        # The plain one leaves rows out between steps, the fused one does not.
        assert found.pop("flops") >= expected.pop("flops") > 0
        for key, value in expected.items():
            assert found[key] == pytest.approx(value, rel=1e-5)


def test_all_ranks_learn_together_of_a_stop_and_of_a_loss_that_is_not_finite(
    ranks: tuple[list[dict[str, Any]], Path],
) -> None:
    for rank in ranks[0]:
        assert rank["stop"] is True
        assert rank["code"] == "FEATURE_INVALID"
        assert rank["where"] == {"step": 2, "ranks": [0]}, "the rank where it began"
        assert rank["kept"], "the weights must stay as they were"


@pytest.mark.parametrize("name", ["fsdp", "replicate", "fused", "masked"])
def test_ranks_with_unequal_parts_validate_as_one_rank_does(
    name: str, world: World, ranks: tuple[list[dict[str, Any]], Path]
) -> None:
    alone = validated(name, world)
    assert alone["samples"] == 3
    for rank in ranks[0]:
        for key, value in alone.items():
            assert rank["validated"][name][key] == pytest.approx(value, rel=1e-5), key


def test_two_ranks_resume_bit_equally(ranks: tuple[list[dict[str, Any]], Path]) -> None:
    assert [rank["resumed"] for rank in ranks[0]] == [True, True]
    assert [rank["random"] for rank in ranks[0]] == [True, True]


def test_a_checkpoint_of_two_ranks_goes_on_with_one(world: World, ranks: tuple[list[dict[str, Any]], Path]) -> None:
    straight, batches = session_of("fsdp", world)
    expected = train(straight, batches, 4)[2:]
    session, _ = session_of("fsdp", world)
    load_session(session, ranks[1] / "two-ranks")
    assert session.global_step == 2
    for found, wanted in zip(train(session, batches, 2), expected, strict=True):
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-5)


@pytest.mark.parametrize("kind", ["fsdp", "replicate"])
def test_saving_loading_and_going_on_is_bit_equal_to_never_having_stopped(
    kind: str, world: World, tmp_path: Path
) -> None:
    case = SmallCase(torch.float32)
    batch = batch_of(*(case.sample(mask) for mask in MASKS))
    micro = MicroStep(batch.positions, 1, True, False)
    ttt = ttt_settings(steps=3)
    first, second = (case.session(world, ttt, kind) for _ in range(2))
    for _ in range(3):
        first.step(batch, micro)
    files = save(first, tmp_path)
    for _ in range(3):
        first.step(batch, micro)
    load_session(second, tmp_path)
    for _ in range(3):
        second.step(batch, micro)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    assert first.global_step == second.global_step == 6
    assert {file["name"]: (tmp_path / file["name"]).stat().st_size for file in files} == {
        file["name"]: file["bytes"] for file in files
    }


def test_a_checkpoint_is_a_draft_that_servers_can_read(world: World, tmp_path: Path) -> None:
    session, _ = session_of("fsdp", world)
    save(session, tmp_path)
    loaded = load_draft(tmp_path, torch.float32, Eagle3())
    draft, d2t, t2d = loaded.module, loaded.constants["d2t"], loaded.constants["t2d"]
    stored = load_file(tmp_path / "model.safetensors")
    assert set(stored) == {*dict(draft.named_parameters()), "d2t", "t2d"}
    assert torch.equal(t2d.nonzero().flatten(), d2t + torch.arange(CONFIG.draft_vocab_size))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == CONFIG.rope_theta
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert config["architectures"] == ["LlamaForCausalLMEagle3"]


def test_an_empty_mask_trains_nothing_and_breaks_nothing(world: World) -> None:
    case = SmallCase(torch.float32)
    session = case.session(world, ttt_settings(steps=3, reduction="masked"))
    before = weights(session)
    session.step(batch_of(case.sample([0] * 6)), MicroStep(6, 1, True, False))
    metrics = session.read_metrics()
    assert (metrics["loss"], metrics["gradNorm"], metrics["acc"]) == (0.0, 0.0, [None] * 3)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(session), strict=True))


def test_metrics_join_micro_steps_by_their_numerators_and_denominators(world: World) -> None:
    case = SmallCase(torch.float32)
    samples = [case.sample(mask) for mask in MASKS]
    split, joined = (case.session(world, ttt_settings(steps=3)) for _ in range(2))
    for index, sample in enumerate(samples):
        split.step(batch_of(sample), MicroStep(22, 1, index == 1, False))
    joined.step(batch_of(*samples), MicroStep(22, 1, True, False))
    found, expected = split.read_metrics(), joined.read_metrics()
    for key in ("loss", "gradNorm", "acc", "acceptanceRate", "ploss"):
        assert found[key] == pytest.approx(expected[key], rel=1e-5)
    assert found["tokens"] == 18
    assert split.read_metrics()["steps"] == 0


def test_learning_rate_rises_to_lr_then_falls_to_zero() -> None:
    settings = replace(OPTIMIZER, lr=1.0, warmup_ratio=0.1)
    # The reference's cosine reaches lr one step late, so its first step after the warm-up is slightly above.
    assert [rate(settings, 100, step) for step in (0, 9, 11)] == [0.1, 1.0, pytest.approx(1.0)]
    assert rate(settings, 100, 10) == pytest.approx(2 / (1 + math.cos(math.pi / 90)))
    assert rate(settings, 100, 55) == pytest.approx(0.5, rel=4e-4)
    assert rate(settings, 100, 99) == pytest.approx((1 + math.cos(math.pi * 89 / 90)) / 2, rel=4e-4)
    assert rate(settings, 100, 100) == pytest.approx(0.0)
    assert max(rate(settings, 10, step) for step in range(10)) == 1.0, "a short run must not go past lr"
    assert rate(replace(settings, schedule="linear"), 100, 55) == pytest.approx(0.5)
    assert rate(replace(settings, schedule="constant"), 100, 99) == 1.0
    assert rate(replace(settings, warmup_ratio=0.0), 100, 0) == 1.0


def test_gradients_are_clipped_by_their_global_norm(world: World) -> None:
    case = SmallCase(torch.float32)
    batch = batch_of(case.sample(MASKS[0]))
    settings = replace(OPTIMIZER, clip=0.25, warmup_ratio=0.0, schedule="constant")
    session = case.session(world, ttt_settings(steps=2), optimizer=settings)
    session.step(batch, MicroStep(11, 1, True, False))
    norm = session.read_metrics()["gradNorm"]
    assert isinstance(norm, float)
    assert norm > 1
    # The first moment after one step is a tenth of the clipped gradient.
    moments = [session.optimizer.moments(name)[0] for name in session.draft.shards]
    clipped = math.sqrt(sum(float(moment.square().sum()) for moment in moments)) * 10
    assert clipped == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize(
    ("wanted", "devices", "chosen"),
    [("auto", 0, "cpu"), ("auto", 2, "cuda:1"), ("cuda", 2, "cuda:1"), ("cpu", 0, "cpu"), ("cpu", 2, "cpu")],
)
def test_auto_takes_the_device_of_the_local_rank_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, wanted: str, devices: int, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    assert choose_device(wanted, 1) == torch.device(chosen)


@pytest.mark.parametrize(("wanted", "devices"), [("auto", 1), ("cuda", 1), ("cuda", 0)])
def test_more_ranks_than_devices_is_named(monkeypatch: pytest.MonkeyPatch, wanted: str, devices: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    with pytest.raises(BridgeError) as caught:
        choose_device(wanted, 1)
    assert (caught.value.code, caught.value.details["field"]) == ("CONFIG_INVALID", "launch.ranksPerNode")
