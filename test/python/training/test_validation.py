"""Validation: what it measures, and that training never notices it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from draftbridge.distributed.world import World
from draftbridge.settings.train_settings import TttSettings
from draftbridge.training.train_session import MicroStep, TrainSession
from small_case import LAYOUT, MASKS, SmallCase, batch_of, ttt_settings
from torch.distributed.tensor import DTensor

KINDS = [("fsdp", False), ("replicate", False), ("fsdp", True), ("replicate", True)]
LOSSES = [
    ttt_settings(steps=3),
    ttt_settings(steps=3, reduction="masked", loss="lk-lambda"),
    ttt_settings(steps=3, loss="lk-alpha"),
]


def validated(session: TrainSession, *batches: Any) -> dict[str, Any]:
    for batch in batches:
        session.validation.add(session.staging.of(batch))
    return session.validation.read()


@pytest.mark.parametrize(("kind", "fused"), KINDS)
@pytest.mark.parametrize("ttt", LOSSES)
def test_it_finds_what_training_on_the_same_batch_reports(
    ttt: TttSettings, kind: str, fused: bool, world: World
) -> None:
    case = SmallCase(torch.float64)
    # One sample: its padded size, which training divides by, is its size.
    batch = batch_of(case.sample(MASKS[0]))
    session = case.session(world, ttt, kind, fused=fused)
    found = validated(session, batch)
    session.step(batch, MicroStep(batch.positions, 1, True, False))
    trained = session.read_metrics()
    for key in ("loss", "ploss", "acc", "acceptanceRate"):
        assert found[key] == pytest.approx(trained[key], rel=1e-9), key
    assert (found["samples"], found["tokens"], found["lossTokens"]) == (1, 11, trained["lossTokens"])


@pytest.mark.parametrize("ttt", LOSSES)
def test_how_samples_are_batched_does_not_matter(ttt: TttSettings, world: World) -> None:
    case = SmallCase(torch.float64)
    session = case.session(world, ttt)
    samples = [case.sample(mask) for mask in (*MASKS, [0] * 5, MASKS[1])]
    apart = validated(session, *(batch_of(sample) for sample in samples), LAYOUT.empty_batch())
    together = validated(session, batch_of(*samples))
    for key, value in together.items():
        assert apart[key] == pytest.approx(value, rel=1e-9), key
    assert together["samples"] == 4


@pytest.mark.parametrize(("kind", "fused"), KINDS)
def test_training_with_it_and_without_it_gives_the_same_bits(kind: str, fused: bool, world: World) -> None:
    ended = []
    for looking in (False, True):
        case = SmallCase(torch.float32)
        first, second, held_out = (batch_of(case.sample(mask)) for mask in (*MASKS, [1] * 9))
        session = case.session(world, ttt_settings(steps=3), kind, fused=fused)
        random = torch.get_rng_state()
        metrics = []
        for _ in range(3):
            session.step(first, MicroStep(11, 2, False, False))
            session.step(second, MicroStep(11, 2, True, False))
            if looking:
                assert validated(session, held_out, LAYOUT.empty_batch())["samples"] == 1
                assert all(parameter.grad is None for parameter in session.draft._draft.parameters())
            metrics.append(session.read_metrics())
        assert torch.equal(random, torch.get_rng_state())
        tensors = [t for name in session.draft.shards for t in session.optimizer.moments(name)]
        ended.append(([*session.draft.shards.values(), *tensors], metrics))
    (plain, reported), (watched, same) = ended
    assert same == reported
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))


def test_it_sees_the_weights_of_the_last_step(world: World) -> None:
    """A sharded draft that kept the gathered weights of an earlier look would not."""
    case = SmallCase(torch.float64)
    batch = batch_of(case.sample(MASKS[0]))
    session = case.session(world, ttt_settings(steps=2))
    losses = [validated(session, batch)["loss"]]
    for _ in range(2):
        session.step(batch, MicroStep(11, 1, True, False))
        losses.append(validated(session, batch)["loss"])
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize(("kind", "fused"), KINDS)
def test_a_look_keeps_neither_a_graph_nor_gathered_weights(kind: str, fused: bool, world: World) -> None:
    case = SmallCase(torch.float32)
    session = case.session(world, ttt_settings(steps=2), kind, fused=fused)
    sums = session.trainer.evaluate(session.draft, session.staging.of(batch_of(case.sample(MASKS[0]))).take())
    assert not any(part.requires_grad for part in sums)
    assert all(isinstance(parameter, DTensor) == (kind == "fsdp") for parameter in session.draft._draft.parameters())


def test_nothing_read_is_nothing_measured(world: World) -> None:
    session = SmallCase(torch.float64).session(world, ttt_settings(steps=2))
    found = validated(session, LAYOUT.empty_batch())
    assert (found["samples"], found["loss"], found["acc"]) == (0, None, [None, None])
