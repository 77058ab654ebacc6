"""How fast a device multiplies matrices: the bound that a training's throughput is compared with."""

from __future__ import annotations

import platform
import time

import torch
from torch import Tensor

# Large enough that arithmetic takes nearly all of a product's time, small enough not to delay the start.
_CUDA_SIZE, _CPU_SIZE = 8192, 1024
_ROUNDS, _ENOUGH_SECONDS = 6, 0.15


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the best of a few products [n,n] @ [n,n]. Leaves neither memory nor random numbers behind."""
    size = _CUDA_SIZE if device.type == "cuda" else _CPU_SIZE
    # Random values: a GPU multiplies zeros faster than real data, because it draws less power.
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator, device=device).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype, device=device)
    taken: list[float] = []
    while len(taken) < _ROUNDS and sum(taken) < _ENOUGH_SECONDS:
        taken.append(_seconds(left, right, out))
    del left, right, out
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return float(2 * size**3 / min(taken))


def _seconds(left: Tensor, right: Tensor, out: Tensor) -> float:
    if left.device.type != "cuda":
        begun = time.perf_counter()
        torch.mm(left, right, out=out)
        return time.perf_counter() - begun
    begun_event, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begun_event.record()
    torch.mm(left, right, out=out)
    ended.record()
    ended.synchronize()
    return float(begun_event.elapsed_time(ended)) / 1000


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)"
