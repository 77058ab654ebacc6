"""The op table: which functions Node may call, and on which thread each runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Lane = Literal["io", "engine", "bulk"]
Payload = dict[str, Any]
Op = Callable[[Payload], Payload | None]

OPS: dict[str, tuple[Lane, Op]] = {}
ANY_THREAD_OPS: set[str] = set()
"""Ops that depend on no thread: neither on its grad mode nor on its CUDA device."""


def op(name: str, lane: Lane, *, any_thread: bool = False) -> Callable[[Op], Op]:
    """Register `fn` under `name`. src/bridge/ops.ts holds the same names and lanes; a parity test compares them.

    With `any_thread`, the op waits for its turn on the lane and then runs on the thread that called it, which saves
    waking up the lane's thread.
    """

    def register(fn: Op) -> Op:
        if name in OPS:
            raise ValueError(f"op {name} is registered twice")
        OPS[name] = (lane, fn)
        if any_thread:
            ANY_THREAD_OPS.add(name)
        return fn

    return register
