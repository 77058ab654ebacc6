"""What the tests of objects share: a small sample, keys, and reading with short arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.keys.store_key import Mode, StoreKey
from draftbridge.memory.slab import SlabSet
from draftbridge.objects.file_object import FileObject
from draftbridge.objects.object_header import Header
from draftbridge.objects.object_rekey import rekey
from draftbridge.objects.read.object_reader import Request, read
from draftbridge.objects.write.byte_sink import NewFile
from draftbridge.objects.write.object_writer import ExternSource, write

MODES: tuple[Mode, ...] = ("mac", "seal")


def tensors() -> dict[str, torch.Tensor]:
    """With chunks of 4096 bytes: 4 chunks, the last one short, then 1, 1 and none."""
    generator = torch.Generator().manual_seed(7)
    return {
        "hidden_state": torch.randn(100, 37, generator=generator),
        "input_ids": torch.arange(100),
        "flags": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 7),
    }


def key(mode: Mode = "mac", secret: bytes = bytes(range(32)), store_id: str = "store-a", salt: int = 0) -> StoreKey:
    return StoreKey(secret, mode=mode, store_id=store_id, salt=bytes([salt] * 16))


def put(
    tensors: dict[str, torch.Tensor],
    path: str,
    metadata: Mapping[str, str],
    key: StoreKey | None = None,
    extern: ExternSource | None = None,
    *,
    fsync: bool = False,
) -> tuple[int, dict[str, str]]:
    """Writes an object that is a file."""
    return write(tensors, NewFile(path, fsync=fsync), metadata, key=key, extern=extern)


def rekeyed(path: str, copy: str, old: StoreKey, new: StoreKey) -> bool:
    return rekey(FileObject(path), NewFile(copy, fsync=False), old, new)


def get(
    path: str,
    under: StoreKey | None = None,
    names: list[str] | None = None,
    rows: tuple[int, int] | None = None,
    verify: bool = True,
    max_bytes: int | None = None,
) -> tuple[SlabSet, Header]:
    found = read(Request(FileObject(path), names, rows, verify, max_bytes), under)
    assert found is not None
    return found


def refusal(task: Callable[[], object], code: str) -> BridgeError:
    with pytest.raises(BridgeError) as caught:
        task()
    assert caught.value.code == code
    assert {"found", "fix"} <= set(caught.value.details)
    return caught.value


def resident_growth(task: Callable[[], object]) -> int:
    """By how much the task made this process larger in memory at its peak, in bytes. From Linux, which may be asked to
    forget earlier peaks: getrusage never forgets one, and so would not see a growth below it."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident_peak()
    task()
    return _resident_peak() - before


def _resident_peak() -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def flip(path: str, at: int) -> None:
    """The lowest bit of one byte."""
    data = bytearray(Path(path).read_bytes())
    data[at] ^= 1
    Path(path).write_bytes(data)


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return set(left) == set(right) and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )
