"""The state of a training run on disk. A folder is a draft first (model, configuration), with the optimiser beside it.

The folder counts only once TypeScript has renamed it into the run, so nothing here has to be atomic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from draftbridge.drafts.draft_files import (
    MODEL,
    check_tensors,
    checkpoint_invalid,
    load_draft,
    read_tensors,
    save_draft,
    write_tensors,
)
from draftbridge.drafts.registry import architecture_of
from draftbridge.training.snapshot import FIRST, SECOND, Snapshot
from draftbridge.training.train_session import TrainSession

OPTIMIZER = "optimizer.safetensors"


def _rng_file(rank: int) -> str:
    return f"rng-rank{rank}.safetensors"


def write_snapshot(snapshot: Snapshot, directory: Path) -> list[dict[str, Any]]:
    """Write the files of a checkpoint, fsynced, into an existing directory. Returns their names and bytes.

    Needs no lane of its own: nothing of the session is touched, and hardly any Python runs. STORE_FULL,
    STORE_UNAVAILABLE, or FEATURE_INVALID if the loss of a step was not finite.
    """
    snapshot.settle()
    moments = {name: tensor for name, tensor in snapshot.tensors.items() if name.startswith((FIRST, SECOND))}
    weights = {name: tensor for name, tensor in snapshot.tensors.items() if name not in moments}
    files = save_draft(directory, snapshot.description, weights)
    moments["step"] = torch.tensor(snapshot.step, dtype=torch.int64)
    about = {"worldSize": str(snapshot.world_size)}
    files.append({"name": OPTIMIZER, "bytes": write_tensors(directory / OPTIMIZER, moments, about)})
    for rank, state in enumerate(snapshot.random):
        name = _rng_file(rank)
        files.append({"name": name, "bytes": write_tensors(directory / name, state)})
    return files


def load_session(session: TrainSession, directory: Path) -> None:
    """Restore what `write_snapshot` wrote, at any number of ranks. CHECKPOINT_INVALID names the file and the tensor.

    Nothing of the session has changed if it raises.
    """
    weights = _read_weights(session, directory)
    moments, step = _read_moments(directory, weights)
    state = _read_rng(session, directory)
    with torch.no_grad():
        for name, shard in session.draft.shards.items():
            shard.copy_(session.draft.shard_of(name, weights[name].to(shard)))
            first, second = (session.draft.shard_of(name, moments[kind + name].to(shard)) for kind in (FIRST, SECOND))
            session.optimizer.restore(name, first, second, step)
    session.global_step = step
    if "cpu" in state:
        torch.set_rng_state(state["cpu"])
    if "cuda" in state and session.world.device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], session.world.device)


def _read_weights(session: TrainSession, directory: Path) -> dict[str, Tensor]:
    description = session.trainer.description
    draft = load_draft(directory, torch.float32, architecture_of(description.architecture))
    file = directory / MODEL
    if draft.config != description.config:
        raise checkpoint_invalid("The checkpoint is of another draft.", file, "config", str(draft.config))
    for name, constant in description.constants.items():
        if not torch.equal(draft.constants[name], constant):
            raise checkpoint_invalid("The checkpoint has another draft vocabulary.", file, name, "other token ids")
    return {name: parameter.detach() for name, parameter in draft.module.named_parameters()}


def _read_moments(directory: Path, weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    file = directory / OPTIMIZER
    tensors, _ = read_tensors(file)
    shapes: dict[str, tuple[int, ...]] = {"step": ()}
    for name, weight in weights.items():
        shapes |= dict.fromkeys((FIRST + name, SECOND + name), tuple(weight.shape))
    check_tensors(file, tensors, shapes)
    return tensors, int(tensors.pop("step"))


def _read_rng(session: TrainSession, directory: Path) -> dict[str, Tensor]:
    """This rank's generators, or nothing if the checkpoint is of another number of ranks."""
    _, about = read_tensors(directory / OPTIMIZER)
    if about.get("worldSize") != str(session.world.size):
        return {}
    file = directory / _rng_file(session.world.rank)
    tensors, _ = read_tensors(file)
    if "cpu" not in tensors or tensors["cpu"].dtype != torch.uint8:
        raise checkpoint_invalid("This is not the random state of a rank.", file, "cpu", ", ".join(tensors))
    return tensors
