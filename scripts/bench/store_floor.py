"""What scripts/bench/store.ts compares with: plain reads and writes, torch and safetensors, on the same bytes."""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
# One buffer for all reads, so that none of them pays for fresh memory.
_buffer = mmap.mmap(-1, 1 << 27)
_second_thread = ThreadPoolExecutor(1)


def prepare(folder: str, tokens_text: str, width_text: str) -> str:
    """Write the sample in each form. Gives JSON: `bytes`, its size."""
    tokens, width = int(tokens_text), int(width_text)
    generator = torch.Generator().manual_seed(1)
    sample: Tensors = {
        "input_ids": torch.randint(0, 32000, (tokens,), generator=generator),
        "loss_mask": torch.ones(tokens, dtype=torch.int64),
        "hidden_state": torch.randn(tokens, width, generator=generator).to(torch.bfloat16),
        "aux_hidden_state": torch.randn(tokens, 3 * width, generator=generator).to(torch.bfloat16),
    }
    torch.save(sample, os.path.join(folder, "sample.ckpt"))
    save_file(sample, os.path.join(folder, "sample.safetensors"))
    _held[folder] = sample
    raw = b"".join(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() for tensor in sample.values())
    with open(os.path.join(folder, "sample.raw"), "wb") as file:
        file.write(raw)
    _raw[folder] = raw
    return json.dumps({"bytes": len(raw)})


_held: dict[str, Tensors] = {}
_raw: dict[str, bytes] = {}


def measure(what: str, folder: str) -> float:
    """Seconds of one turn."""
    task = _TASKS[what]
    begun = time.perf_counter()
    task(folder)
    return time.perf_counter() - begun


def _preadv(folder: str) -> None:
    fd = os.open(os.path.join(folder, "sample.raw"), os.O_RDONLY)
    try:
        size, done = os.fstat(fd).st_size, 0
        view = memoryview(_buffer)[:size]
        while done < size:
            done += os.preadv(fd, [view[done:]], done)
    finally:
        os.close(fd)


def _preadv_two_threads(folder: str) -> None:
    fd = os.open(os.path.join(folder, "sample.raw"), os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        view, step = memoryview(_buffer)[:size], 1 << 20
        middle = size // 2 // step * step

        def half(start: int, end: int) -> None:
            for at in range(start, end, step):
                os.preadv(fd, [view[at : min(at + step, end)]], at)

        other = _second_thread.submit(half, 0, middle)
        half(middle, size)
        other.result()
    finally:
        os.close(fd)


def _clone_twice(folder: str) -> None:
    """SpecForge's path: its store clones what torch.load mapped, and its reader clones that again."""
    loaded: Tensors = torch.load(os.path.join(folder, "sample.ckpt"), map_location="cpu", weights_only=True, mmap=True)
    first = {name: tensor.clone() for name, tensor in loaded.items()}
    _ = {name: tensor.clone() for name, tensor in first.items()}


def _safetensors_get(folder: str) -> None:
    # load_file only maps the file; the copy makes it read all bytes.
    _ = {name: tensor.clone() for name, tensor in load_file(os.path.join(folder, "sample.safetensors")).items()}


def _synced(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def _written(*, synced: bool) -> Callable[[str], None]:
    def run(folder: str) -> None:
        fd = os.open(os.path.join(folder, "out.raw"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        data, done = memoryview(_raw[folder]), 0
        while done < len(data):
            done += os.write(fd, data[done:])
        if synced:
            os.fsync(fd)
        os.close(fd)

    return run


def _saved(save: Callable[[Tensors, str], None], *, synced: bool = True) -> Callable[[str], None]:
    def run(folder: str) -> None:
        path = os.path.join(folder, "out.saved")
        save(_held[folder], path)
        if synced:
            _synced(path)

    return run


def clean(folder: str) -> float:
    """Remove what the last write left. It is not timed."""
    for name in ("out.raw", "out.saved"):
        if os.path.exists(os.path.join(folder, name)):
            os.unlink(os.path.join(folder, name))
    return 0.0


_TASKS: dict[str, Callable[[str], None]] = {
    "preadv": _preadv,
    "preadv, two threads": _preadv_two_threads,
    "torch.load + clone twice": _clone_twice,
    "safetensors load + clone": _safetensors_get,
    "write": _written(synced=False),
    "write + fsync": _written(synced=True),
    "torch.save": _saved(torch.save, synced=False),
    "torch.save + fsync": _saved(torch.save),
    "safetensors save + fsync": _saved(save_file),
}
