"""The op table: which functions Node may call, and on which thread each runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Lane = Literal["io", "engine", "bulk"]
Payload = dict[str, Any]
Op = Callable[[Payload], Payload | None]

OPS: dict[str, tuple[Lane, Op]] = {}


def op(name: str, lane: Lane) -> Callable[[Op], Op]:
    """Register `fn` under `name`. src/bridge/ops.ts holds the same names and lanes; a parity test compares them."""

    def register(fn: Op) -> Op:
        if name in OPS:
            raise ValueError(f"op {name} is registered twice")
        OPS[name] = (lane, fn)
        return fn

    return register
