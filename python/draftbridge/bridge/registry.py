"""The op table: which functions Node may call, and on which thread each runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Lane = Literal["io", "engine", "bulk"]
Payload = dict[str, Any]
Op = Callable[[Payload], Payload | None]

OPS: dict[str, tuple[Lane, Op]] = {}
ANYWHERE: set[str] = set()
"""Ops that depend on no thread: neither on its grad mode nor on its CUDA device."""


def op(name: str, lane: Lane, *, anywhere: bool = False) -> Callable[[Op], Op]:
    """Register `fn` under `name`. src/bridge/ops.ts holds the same names and lanes; a parity test compares them.

    One that may run `anywhere` has its turn on the lane, but needs not wait for another thread to wake up.
    """

    def register(fn: Op) -> Op:
        if name in OPS:
            raise ValueError(f"op {name} is registered twice")
        OPS[name] = (lane, fn)
        if anywhere:
            ANYWHERE.add(name)
        return fn

    return register
