"""Ops that show how the bridge itself behaves. Only tests import this."""

from __future__ import annotations

import threading
import time
from typing import get_args

from draftbridge.bridge.errors import ERROR_CODES, BridgeError
from draftbridge.bridge.registry import Lane, Payload, op
from draftbridge.objects import safetensors_header


def _run(payload: Payload) -> Payload:
    begin = time.monotonic()
    time.sleep(payload["seconds"])
    return {"thread": threading.get_ident(), "begin": begin, "end": time.monotonic()}


for _lane in get_args(Lane):
    op(f"probe.run.{_lane}", _lane)(_run)


@op("probe.echo", "io")
def _echo(payload: Payload) -> Payload:
    return {"value": payload["value"], "repr": repr(payload["value"])}


@op("probe.make", "io")
def _make(payload: Payload) -> Payload:
    return {
        "value": {"one": 1.0, "nan": float("nan"), "third": 1 / 3}[payload["which"]]
    }


@op("probe.codes", "io")
def _codes(_: Payload) -> Payload:
    return {"codes": list(ERROR_CODES)}


@op("probe.constants", "io")
def _constants(_: Payload) -> Payload:
    return {
        "dtypeBytes": {
            str(dtype).removeprefix("torch."): dtype.itemsize
            for dtype in safetensors_header.CODES
        },
        "featureName": safetensors_header._NAME.pattern,
        "maxHeader": safetensors_header.MAX_HEADER,
    }


@op("probe.raise", "engine")
def _raise(payload: Payload) -> Payload:
    if payload["code"] is None:
        raise RuntimeError("bad \N{GRINNING FACE} news")
    if payload["code"] == "MemoryError":
        raise MemoryError("no more")
    try:
        raise OSError("what lies below")
    except OSError as exc:
        raise BridgeError(
            payload["code"],
            "a sample",
            file="/tmp/\N{GRINNING FACE}",
            found="x",
            fix="y",
        ) from exc
