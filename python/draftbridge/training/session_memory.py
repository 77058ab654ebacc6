"""What a training session keeps in memory, by part. Read from what the host knows: nothing waits for the device."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from draftbridge.training.train_session import TrainSession


def memory(session: TrainSession) -> dict[str, int | None]:
    """Bytes, in the wire form of Memory in src/bridge/report-ops.ts: for each part the most of any rank. A collective.

    Moments and gradients are there from the first step on. What is gathered for a step, activations and workspaces have
    no name here: they are what the peak has beyond the parts.
    """
    frozen = session.frozen
    shards = session.draft.shards.values()
    parts = {
        "parameters": _bytes(shards),
        "gradients": session.gradient_bytes,
        "optimizer": _bytes(moment for name in session.draft.shards for moment in session.optimizer.moments(name)),
        # Tied weights are one tensor.
        "frozen": _bytes({t.data_ptr(): t for t in (frozen.embedding, *frozen.teacher.tensors)}.values()),
        "buffers": session.unrolling.buffer_bytes,
        "batches": session.staging.peak_bytes,
        "host": host_peak(),
    }
    device = session.world.device
    if device.type == "cuda":
        parts["allocated"] = torch.cuda.max_memory_allocated(device)
        parts["reserved"] = torch.cuda.max_memory_reserved(device)
    most = session.world.most(*parts.values())
    return {"allocated": None, "reserved": None} | {name: int(value) for name, value in zip(parts, most, strict=True)}


def host_peak() -> int:
    """The most memory that this process ever had resident."""
    try:
        # getrusage would also count what the process was forked from.
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if found is None else int(found[1])
    return kilobytes * 1024


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
