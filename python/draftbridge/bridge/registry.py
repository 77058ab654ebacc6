"""The op table: which functions Node may call, and on which thread each runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Lane = Literal["io", "engine", "bulk"]
Payload = dict[str, Any]
Op = Callable[[Payload], Payload | None]

OPS: dict[str, tuple[Lane, Op]] = {}
ANY_THREAD_OPS: set[str] = set()
"""Ops that use no state of a thread, such as its grad mode or CUDA device."""


def op(name: str, lane: Lane, *, any_thread: bool = False) -> Callable[[Op], Op]:
    """Register `fn` under `name`. src/bridge/ops.ts holds the same names and lanes; a parity test compares them.

    With `any_thread`, the op runs on the calling thread, still one at a time per lane (src/bridge/python.ts queues the
    calls). That saves waking up the lane's thread.
    """

    def register(fn: Op) -> Op:
        if name in OPS:
            raise ValueError(f"op {name} is registered twice")
        OPS[name] = (lane, fn)
        if any_thread:
            ANY_THREAD_OPS.add(name)
        return fn

    return register
