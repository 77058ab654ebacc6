"""`call`, the only function that Node calls to run an op."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.file_systems import storage_failure
from draftbridge.bridge.handles import TABLE
from draftbridge.bridge.registry import ANY_THREAD_OPS, OPS, Lane, Op, Payload, op

# Node may call from any of its threads, but grad mode, the CUDA device and the process group belong to a thread.
# So each lane has one long-lived thread. `bulk` has two, because its ops use no state of a thread.
_LANES: dict[Lane, ThreadPoolExecutor] = {
    "io": ThreadPoolExecutor(1, thread_name_prefix="draftbridge-io"),
    "engine": ThreadPoolExecutor(1, thread_name_prefix="draftbridge-engine"),
    "bulk": ThreadPoolExecutor(2, thread_name_prefix="draftbridge-bulk"),
}

# The threads of the lanes and of Node switch the interpreter lock many times per step. With the default interval, each
# switch can take 5 ms.
sys.setswitchinterval(0.0005)

_OP_MODULES = (
    "objects.objects",
    "keys.store_key",
    "features.ingest",
    "capture.capture",
    "capture.vllm_capture",
    "capture.sample_text",
    "generation.generate_ops",
    "capture.target_ops",
    "distributed.dist_ops",
    "training.session",
    "training.session_reports",
    "training.tensorboard_file",
    "decoding.decode",
)
for _name in _OP_MODULES:
    importlib.import_module(f"draftbridge.{_name}")


def call(name: str, payload: str) -> str:
    """Run op `name` on its lane with JSON `payload`. Always returns JSON text, also for an exception."""
    try:
        lane, fn = OPS[name]
        given = json.loads(payload)
        on_caller = name in ANY_THREAD_OPS
        value, seconds = _timed(fn, given) if on_caller else _LANES[lane].submit(_timed, fn, given).result()
        # ASCII, because pymport truncates strings with characters above U+FFFF. No NaN, because JSON has none.
        return json.dumps({"ok": True, "value": value, "seconds": seconds}, allow_nan=False)
    except BaseException as exc:
        return json.dumps(_failure(exc))


def list_ops() -> str:
    """Names and lanes of all ops, for the parity test."""
    return json.dumps({name: lane for name, (lane, _) in sorted(OPS.items())})


def _timed(fn: Op, payload: Payload) -> tuple[Payload | None, float]:
    begun = time.perf_counter()
    value = fn(payload)
    return value, time.perf_counter() - begun


def _failure(exc: BaseException) -> dict[str, Any]:
    told = storage_failure(exc) or exc
    known = isinstance(told, BridgeError)
    return {
        "ok": False,
        "code": told.code if isinstance(told, BridgeError) else None,
        "type": type(told).__name__,
        "message": str(told),
        "details": told.details if isinstance(told, BridgeError) else {},
        "traceback": ""
        if known and told is exc and exc.__cause__ is None
        else "".join(traceback.format_exception(exc)),
    }


def _version_of(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


@op("host.info", "io")
def _info(_: Payload) -> Payload:
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "torch": torch.__version__,
        "transformers": _version_of("transformers"),
        "cudaDevices": torch.cuda.device_count(),
        "threads": os.cpu_count() or 1,
    }


@op("host.live", "io")
def _live(_: Payload) -> Payload:
    return {"handles": len(TABLE)}


@op("handles.free", "io")
def _free_all(payload: Payload) -> Payload:
    for handle in payload["handles"]:
        TABLE.free(handle)
    return {}


@op("handle.free", "io")
def _free(payload: Payload) -> Payload:
    TABLE.free(payload["handle"])
    return {}
