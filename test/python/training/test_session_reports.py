"""What a training says of itself: memory by part, the speed of its device, determinism, TensorBoard files."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from draftbridge import host
from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE
from draftbridge.device import determinism, device_peak
from draftbridge.device.determinism import nondeterminism_coded
from draftbridge.device.device_peak import measured_peak
from draftbridge.distributed.world import World
from draftbridge.drafts.eagle3.eagle3 import uses_fused
from draftbridge.training.session_memory import host_peak, memory_figures
from draftbridge.training.tensorboard_file import EventFile
from draftbridge.training.train_session import MicroStep
from small_case import CONFIG, MASKS, SmallCase, batch_of, ttt_settings


@pytest.mark.parametrize("fused", [False, True])
def test_memory_is_counted_by_part(fused: bool, world: World) -> None:
    case = SmallCase(torch.float32)
    session = case.session(world, ttt_settings(steps=3), fused=fused)
    batch = batch_of(case.sample(MASKS[0]))
    first, second = session.staging.of(batch), session.staging.of(batch)
    session.step(first, MicroStep(11, 1, True, False))
    found = memory_figures(session)
    weights = 4 * sum(parameter.numel() for parameter in case.draft().parameters())
    assert (found["parameters"], found["gradients"], found["optimizer"]) == (weights, weights, 2 * weights)
    head = 4 * CONFIG.vocab_size * CONFIG.hidden_size
    maps = 8 * (CONFIG.vocab_size + CONFIG.draft_vocab_size)
    assert found["frozen"] == 2 * head + maps, "embedding, head and the maps of ids"
    assert found["batches"] == first.bytes + second.bytes > 11 * 4 * 3 * CONFIG.hidden_size
    buffers = found["buffers"]
    assert buffers is not None
    assert (buffers > 0) == fused
    assert (found["allocated"], found["reserved"]) == (None, None), "on a CPU"


def test_on_a_gpu_the_peak_of_its_allocator_is_told_and_that_of_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = SmallCase(torch.float32).session(world, ttt_settings(steps=2))
    second = torch.device("cuda", 1)
    session.world = replace(world, device=second)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", {second: 700}.__getitem__)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", {second: 900}.__getitem__)
    found = memory_figures(session)
    assert (found["allocated"], found["reserved"]) == (700, 900)


def test_the_memory_of_the_host_is_the_most_that_was_ever_resident(world: World) -> None:
    session = SmallCase(torch.float32).session(world, ttt_settings(steps=2))
    size = 512 << 20
    before = resident()
    ballast = torch.ones(size, dtype=torch.uint8)
    del ballast
    assert resident() < before + size / 2
    host = memory_figures(session)["host"]
    assert host is not None
    # Linux counts pages in batches of a few for each thread.
    assert before + 0.99 * size <= host < os.sysconf("SC_PHYS_PAGES") * PAGE


PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Bytes of this process that lie in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def test_tied_weights_are_counted_once(world: World) -> None:
    case = SmallCase(torch.float32)
    case.embedding = case.head
    session = case.session(world, ttt_settings(steps=2))
    maps = 8 * (CONFIG.vocab_size + CONFIG.draft_vocab_size)
    assert memory_figures(session)["frozen"] == 4 * case.head.numel() + maps


def test_batches_that_are_gone_count_no_more(world: World) -> None:
    case = SmallCase(torch.float32)
    session = case.session(world, ttt_settings(steps=2))
    batch = batch_of(case.sample(MASKS[0]))
    sizes = [session.staging.of(batch).bytes for _ in range(5)]
    assert sizes[0] <= session.staging.peak_bytes <= 2 * sizes[0]


def test_the_most_batches_that_were_there_at_one_time_count(world: World) -> None:
    case = SmallCase(torch.float32)
    session = case.session(world, ttt_settings(steps=2))
    batch = batch_of(case.sample(MASKS[0]))
    together = [session.staging.of(batch) for _ in range(3)]
    most = sum(each.bytes for each in together)
    together.clear()
    session.staging.of(batch)
    assert session.staging.peak_bytes == most


def test_the_peak_is_that_of_this_process_and_not_of_its_parent() -> None:
    ballast = torch.ones(64 << 20)
    code = "from draftbridge.training.session_memory import host_peak; print(host_peak())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) > 50 << 20
    assert host_peak() - int(found.stdout) > ballast.numel() * 2


def test_the_speed_of_a_device_is_that_of_the_fastest_of_a_few_products(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.08, 0.02, 0.06, 1.0))
    multiplied: list[torch.Size] = []

    def seconds(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> float:
        multiplied.append(left.shape)
        assert left.dtype == right.dtype == out.dtype == torch.bfloat16
        assert right.shape == out.shape == left.shape
        return next(times)

    monkeypatch.setattr(device_peak, "_seconds", seconds)
    size = 1024
    # Two operations for each of the size**3 products of two numbers.
    assert measured_peak(torch.device("cpu"), torch.bfloat16) == 2 * size**3 / 0.02
    assert multiplied == [(size, size)] * 3, "no more once enough time was spent"


def test_a_product_is_timed_from_its_begin_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right, out = torch.rand(3, 3), torch.rand(3, 3), torch.zeros(3, 3)
    done: list[bool] = []

    def clock() -> float:
        done.append(bool(out.any()))
        return 5.0 if len(done) == 1 else 7.5

    monkeypatch.setattr(device_peak.time, "perf_counter", clock)
    assert device_peak._seconds(left, right, out) == 2.5
    assert done == [False, True]
    torch.testing.assert_close(out, left @ right)


def test_measuring_the_speed_leaves_no_trace_in_the_random_numbers() -> None:
    random = torch.get_rng_state()
    assert measured_peak(torch.device("cpu"), torch.float32) > 0
    assert torch.equal(random, torch.get_rng_state())


def call(name: str, **payload: Any) -> Any:
    reply = json.loads(host.call(name, json.dumps(payload)))
    assert reply["ok"], reply
    return reply["value"]


def test_the_operations_look_at_a_session_and_leave_it_as_it_is(world: World, tmp_path: Path) -> None:
    case = SmallCase(torch.float32)
    session = case.session(world, ttt_settings(steps=2))
    before = [shard.detach().clone() for shard in session.draft.shards.values()]
    handle = TABLE.mint(session)
    batch = TABLE.mint(session.staging.of(batch_of(*(case.sample(mask) for mask in MASKS))))
    call("train.validate", session=handle, batch=batch)
    found = call("train.validation", session=handle)
    assert (found["samples"], found["tokens"], found["lossTokens"]) == (2, 18, 9)
    assert all(value is not None for value in (found["loss"], *found["ploss"], *found["acc"], *found["acceptanceRate"]))
    assert call("train.validation", session=handle)["samples"] == 0
    assert call("train.memory", session=handle)["parameters"] > 0
    assert call("train.peak", session=handle)["flops"] > 0
    assert call("train.settle", session=handle) == {}
    assert all(torch.equal(a, b) for a, b in zip(before, session.draft.shards.values(), strict=True))
    file = call("tensorboard.open", dir=str(tmp_path), purgeStep=1)["handle"]
    call("tensorboard.write", file=file, step=3, wallTime=1.5, scalars={"loss": 2.5})
    assert points(tmp_path) == {"loss": [(3, 2.5)]}
    for held in (file, batch, handle):
        call("handle.free", handle=held)


class TestDeterminism:
    @pytest.fixture(autouse=True)
    def _back(self) -> Iterator[None]:
        yield
        determinism.set_deterministic(False)

    def test_it_is_on_when_chosen_and_off_when_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
        determinism.set_deterministic(True)
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.deterministic
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        determinism.set_deterministic(False)
        assert not torch.are_deterministic_algorithms_enabled()

    def test_a_choice_of_the_user_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
        determinism.set_deterministic(True)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"

    def test_too_late_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        with pytest.raises(BridgeError, match="started CUDA already") as caught:
            determinism.set_deterministic(True)
        assert caught.value.details["field"] == "train.deterministic"

    def test_the_fused_unroll_is_not_chosen(self) -> None:
        assert uses_fused("auto", torch.bfloat16)
        determinism.set_deterministic(True)
        assert not uses_fused("auto", torch.bfloat16)

    @pytest.mark.parametrize("fused", [False, True])
    def test_a_step_and_a_validation_need_nothing_that_is_refused(self, fused: bool, world: World) -> None:
        determinism.set_deterministic(True)
        case = SmallCase(torch.float32)
        session = case.session(world, ttt_settings(steps=3), fused=fused)
        batch = batch_of(*(case.sample(mask) for mask in MASKS))
        session.step(batch, MicroStep(22, 1, True, False))
        session.validation.add(session.staging.of(batch))
        assert session.read_metrics()["loss"] is not None

    def test_what_is_refused_is_named(self) -> None:
        determinism.set_deterministic(True)
        with pytest.raises(BridgeError) as caught, nondeterminism_coded():
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
        assert caught.value.code == "CONFIG_INVALID"
        assert "put_" in caught.value.details["refused"]

    def test_other_errors_stay_what_they_are(self) -> None:
        with pytest.raises(RuntimeError, match="size of tensor"), nondeterminism_coded():
            torch.zeros(3) + torch.zeros(4)


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Any = EventAccumulator(str(folder))  # type: ignore[no-untyped-call]
    found.Reload()
    return {tag: [(at.step, at.value) for at in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


class TestEventFiles:
    def test_tensorboard_reads_what_was_written_also_before_the_file_is_closed(self, tmp_path: Path) -> None:
        file = EventFile(tmp_path / "tb", 1)
        file.scalars(10, 1000.5, {"train/loss": 8.5, "train/acc/1": 0.25})
        file.scalars(20, 1001.5, {"train/loss": 7.25})
        assert points(tmp_path / "tb") == {"train/loss": [(10, 8.5), (20, 7.25)], "train/acc/1": [(10, 0.25)]}
        file.close()

    def test_steps_that_a_restart_does_again_count_once(self, tmp_path: Path) -> None:
        first = EventFile(tmp_path, 1)
        for step in (10, 20, 30):
            first.scalars(step, 1000.0 + step, {"loss": float(step)})
        first.close()
        again = EventFile(tmp_path, 11)
        again.scalars(20, 2000.0, {"loss": -1.0})
        again.close()
        assert points(tmp_path) == {"loss": [(10, 10.0), (20, -1.0)]}

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(BridgeError) as caught:
            EventFile(tmp_path / "file" / "tb", 1)
        assert caught.value.code == "STORE_UNAVAILABLE"
        assert caught.value.details["file"] == str(tmp_path / "file" / "tb")

    def test_a_full_disk_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = EventFile(tmp_path, 1)

        def full(_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(file._writer, "write_event", full)
        with pytest.raises(BridgeError) as caught:
            file.scalars(1, 1.0, {"loss": 1.0})
        assert caught.value.code == "STORE_FULL"
        file.close()
