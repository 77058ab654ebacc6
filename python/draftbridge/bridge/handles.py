"""Objects that Node refers to by number."""

from __future__ import annotations

import itertools
import threading
from typing import Any, TypeVar

import torch

TensorDict = dict[str, torch.Tensor]
T = TypeVar("T")


class HandleTable:
    """Owns every tensor set, batch and session that Node has not freed yet."""

    def __init__(self) -> None:
        self._held: dict[int, object] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def mint(self, value: object) -> int:
        with self._lock:
            handle = next(self._ids)
            self._held[handle] = value
            return handle

    def borrow(self, handle: int, kind: type[T]) -> T:
        with self._lock:
            value = self._held.get(handle)
        if not isinstance(value, kind):
            raise KeyError(f"handle {handle} is not a live {kind.__name__}")
        return value

    def free(self, handle: int) -> None:
        with self._lock:
            value = self._held.pop(handle)
        close = getattr(value, "close", None)
        if callable(close):
            close()

    def __len__(self) -> int:
        return len(self._held)


TABLE = HandleTable()


def describe(tensors: TensorDict) -> list[dict[str, Any]]:
    """FeatureSpecs of `tensors`, in the wire form of src/core/feature-spec.ts."""
    return [
        {"name": name, "shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch.")}
        for name, t in tensors.items()
    ]


def minted(tensors: TensorDict) -> dict[str, Any]:
    """Hand `tensors` to Node: a handle, their specs and their bytes."""
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    return {"handle": TABLE.mint(tensors), "features": describe(tensors), "bytes": size}


def tensors_of(handle: int) -> TensorDict:
    """The tensor set behind `handle`, still owned by the table."""
    return TABLE.borrow(handle, dict)
