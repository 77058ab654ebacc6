"""The `dist.*` operations."""

from __future__ import annotations

import torch
import torch.distributed as dist

from draftbridge.bridge.registry import Payload, op
from draftbridge.device import determinism
from draftbridge.distributed.world import choose_device, join, leave, world


@op("dist.init", "engine")
def _init(payload: Payload) -> Payload:
    determinism.set_deterministic(payload["deterministic"])
    device = choose_device(payload["device"], payload["localRank"])
    if payload["threads"] > 0:
        torch.set_num_threads(payload["threads"])
    address = payload["masterAddr"]
    host = f"[{address}]" if ":" in address else address
    rendezvous = f"tcp://{host}:{payload['masterPort']}"
    join(payload["rank"], payload["worldSize"], device, rendezvous, payload["timeoutSeconds"])
    return {"device": str(device), "backend": dist.get_backend(), "deterministic": determinism.is_on()}


@op("dist.barrier", "engine")
def _barrier(_: Payload) -> Payload:
    dist.barrier()
    return {}


@op("dist.union", "engine")
def _union(payload: Payload) -> Payload:
    return {"numbers": world().union(payload["numbers"])}


@op("dist.close", "engine")
def _close(_: Payload) -> Payload:
    leave()
    determinism.set_deterministic(False)
    return {}
