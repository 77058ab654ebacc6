"""One rank of a small run, as a process of its own: `rank_worker.py RANK PORT DIR`. Writes what it found as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.distributed.world import World, join, leave
from draftbridge.training.batch import Batch
from draftbridge.training.train_files import load_session
from draftbridge.training.train_session import MicroStep, TrainSession
from small_case import LAYOUT, MASKS, SmallCase, batch_of, save, ttt_settings

TTT = {
    "fsdp": ttt_settings(steps=3),
    "replicate": ttt_settings(steps=3),
    "masked": ttt_settings(steps=3, reduction="masked", loss="lk-lambda"),
    "alpha": ttt_settings(steps=3, loss="lk-alpha"),
    "starved": ttt_settings(steps=3, reduction="masked"),
    "lost fsdp": ttt_settings(steps=3),
    "lost replicate": ttt_settings(steps=3),
    "lost masked": ttt_settings(steps=3, reduction="masked", loss="lk-lambda"),
    "fused": ttt_settings(steps=3),
    "fused replicate": ttt_settings(steps=3),
    "starved fused": ttt_settings(steps=3, reduction="masked", loss="lk-lambda"),
    "lost fused": ttt_settings(steps=3, reduction="masked"),
}


def samples_of(name: str, case: SmallCase) -> list[TensorDict]:
    """Four samples: two micro-steps of two. In `starved` the second of each has nothing to train on."""
    masks = [MASKS[0], [0] * 7 if name.startswith("starved") else MASKS[1]] * 2
    return [case.sample(mask) for mask in masks]


def train(session: TrainSession, batches: list[Batch], steps: int) -> list[dict[str, Any]]:
    """Two micro-steps per optimiser step; the global padded size of each is 2 x 11 positions."""
    rows = []
    for _ in range(steps):
        for index, batch in enumerate(batches):
            session.step(batch, MicroStep(22, len(batches), index == len(batches) - 1, False))
        rows.append(session.read_metrics())
    return rows


def batches_of(name: str, world: World, samples: list[TensorDict]) -> list[Batch]:
    """This rank's share of each micro-step. In `lost` the second sample of the first could not be read."""
    pairs = (samples[0:2], samples[2:4])
    if name.startswith("lost"):
        alone = batch_of(samples[0]) if world.rank == 0 else LAYOUT.empty_batch()
        return [alone, batches_of("", world, samples)[1]]
    return [batch_of(*(pair if world.size == 1 else [pair[world.rank]])) for pair in pairs]


def session_of(name: str, world: World) -> tuple[TrainSession, list[Batch]]:
    case = SmallCase(torch.float32)
    batches = batches_of(name, world, samples_of(name, case))
    kind = "replicate" if name.endswith("replicate") else "fsdp"
    return case.session(world, TTT[name], kind, fused="fused" in name), batches


def stop_and_break(world: World) -> dict[str, Any]:
    """One rank asks to stop, then one rank meets a NaN: all must learn of both."""
    session, batches = session_of("fsdp", world)
    report = session.step(batches[0], MicroStep(22, 1, True, world.rank == 1))
    before = [shard.detach().clone() for shard in session.draft.shards.values()]
    if world.rank == 0:
        batches[0].states["aux_hidden_state"][0, 0] = torch.nan
    try:
        session.step(batches[0], MicroStep(22, 1, True, False))
        code, where = None, {}
    except BridgeError as exc:
        code, where = exc.code, {key: exc.details[key] for key in ("step", "ranks")}
    kept = all(torch.equal(a, b) for a, b in zip(before, session.draft.shards.values(), strict=True))
    return {"stop": report.stop, "code": code, "where": where, "kept": kept}


def validated(name: str, world: World) -> dict[str, Any]:
    """Three samples in two rounds: with two ranks the second one has only one, and then nothing."""
    session, _ = session_of(name, world)
    case = SmallCase(torch.float32)
    first, second, third = (case.sample(mask) for mask in (*MASKS, [1] * 6))
    rounds = [batch_of(first, second), batch_of(third)]
    if world.size > 1:
        mine = (first, third) if world.rank == 0 else (second, None)
        rounds = [LAYOUT.empty_batch() if sample is None else batch_of(sample) for sample in mine]
    for batch in rounds:
        session.validation.add(session.staging.of(batch))
    return session.validation.read()


def resume(world: World, folder: Path) -> dict[str, bool]:
    """Two steps, save, two steps; load in a new session, two steps: are the weights bit-equal, and this rank's own
    random numbers the same."""
    torch.manual_seed(7 + world.rank)
    session, batches = session_of("fsdp", world)
    train(session, batches, 2)
    save(session, folder / "two-ranks")
    torch.distributed.barrier()
    drawn = torch.rand(3)
    train(session, batches, 2)
    again, _ = session_of("fsdp", world)
    load_session(again, folder / "two-ranks")
    random = torch.equal(torch.rand(3), drawn)
    train(again, batches, 2)
    pairs = zip(session.draft.shards.values(), again.draft.shards.values(), strict=True)
    return {"resumed": all(torch.equal(a, b) for a, b in pairs), "random": random}


def losses(world: World) -> dict[str, Any]:
    """Each rank lost samples: all learn how many and which. And they learn which checkpoint rank 0 has completed."""
    session, batches = session_of("fsdp", world)
    micro = MicroStep(22, 1, True, False, lost=2 + world.rank, saved=40 if world.rank == 0 else 0)
    report = session.step(batches[0], micro)
    mine = ([7, 3, 7], [9], []) if world.rank == 0 else ([], [1, 9], [])
    unions = [world.union(numbers) for numbers in mine]
    return {"lost": report.lost, "saved": report.saved, "unions": unions}


def main(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    world = join(rank, 2, torch.device("cpu"), f"tcp://127.0.0.1:{port}", 60)
    found: dict[str, Any] = {}
    for name in TTT:
        session, batches = session_of(name, world)
        found[name] = train(session, batches, 3)
    found["validated"] = {name: validated(name, world) for name in ("fsdp", "replicate", "fused", "masked")}
    found |= stop_and_break(world)
    found |= resume(world, folder)
    found |= losses(world)
    leave()
    (folder / f"rank{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    # Like a rank in Node, it ends without finalising Python: a gloo thread that still drops a tensor would abort then.
    sys.stderr.flush()
    os._exit(0)
