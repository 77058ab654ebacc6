"""How much memory a training session uses, by part. Read from what the host knows: nothing waits for the device."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from draftbridge.training.train_session import TrainSession


def memory_figures(session: TrainSession) -> dict[str, int | None]:
    """Bytes, in the form of MemoryFigures in src/core/memory-figures.ts: for each part the largest of any rank. A
    collective.

    Moments and gradients exist from the first step on. Gathered weights, activations and workspaces are no parts of
    their own: they are the peak less the parts.
    """
    shards = session.draft.shards.values()
    parts = {
        "parameters": _bytes(shards),
        "gradients": session.gradient_bytes,
        "optimizer": _bytes(moment for name in session.draft.shards for moment in session.optimizer.moments(name)),
        # Tied weights are one tensor.
        "frozen": _bytes({t.data_ptr(): t for t in session.trainer.frozen_tensors}.values()),
        "buffers": session.trainer.buffer_bytes,
        "batches": session.staging.peak_bytes,
        "host": host_peak(),
    }
    device = session.world.device
    if device.type == "cuda":
        parts["allocated"] = torch.cuda.max_memory_allocated(device)
        parts["reserved"] = torch.cuda.max_memory_reserved(device)
    largest = session.world.all_max(*parts.values())
    return {"allocated": None, "reserved": None} | {
        name: int(value) for name, value in zip(parts, largest, strict=True)
    }


def host_peak() -> int:
    """Peak resident memory of this process, in bytes."""
    try:
        # getrusage would also count the process that this one was forked from.
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        found = None
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if found is None else int(found[1])
    return kilobytes * 1024


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
