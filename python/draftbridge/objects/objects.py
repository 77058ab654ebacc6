"""Ops on tensor sets and on the objects they are stored in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE, TensorDict, minted, tensors_of
from draftbridge.bridge.registry import Payload, op
from draftbridge.keys.store_key import StoreKey, key_of
from draftbridge.memory.slab import SlabSet
from draftbridge.objects.file_object import FileObject
from draftbridge.objects.object_header import Header
from draftbridge.objects.object_rekey import rekey
from draftbridge.objects.read.object_reader import Request, read
from draftbridge.objects.read.piece_work import THREADS
from draftbridge.objects.write import object_writer
from draftbridge.objects.write.byte_sink import NewFile


def synthesize(features: list[Payload], seed: int) -> TensorDict:
    """Random tensors of the given specs, the same for the same seed: floats are normal, integers lie in 0..99, and a
    `loss_mask` holds 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    return {spec["name"]: _random(spec["name"], spec["shape"], spec["dtype"], generator) for spec in features}


def _random(name: str, shape: list[int], dtype_name: str, generator: torch.Generator) -> torch.Tensor:
    dtype = getattr(torch, dtype_name)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    high = 2 if dtype == torch.bool or name.endswith("loss_mask") else 100
    return torch.randint(0, high, shape, generator=generator).to(dtype)


def clone(tensors: TensorDict, names: list[str] | None, rows: slice = slice(None)) -> TensorDict:
    """Contiguous copies without autograd history, which the caller owns; only `rows` of each tensor."""
    wanted = list(tensors) if names is None else names
    for name in wanted:
        if name not in tensors:
            raise BridgeError("SPEC_MISMATCH", "the set has no such tensor", field=name, found=", ".join(tensors))
    parts = {name: tensors[name] if rows == slice(None) else tensors[name][rows] for name in wanted}
    return {name: part.detach().clone(memory_format=torch.contiguous_format) for name, part in parts.items()}


@op("tensor.synthesize", "io")
def _synthesize(payload: Payload) -> Payload:
    return minted(synthesize(payload["features"], payload["seed"]))


@op("tensor.clone", "io")
def _clone(payload: Payload) -> Payload:
    rows = payload["rows"]
    part = slice(None) if rows is None else slice(rows["start"], rows["end"])
    return minted(clone(tensors_of(payload["handle"]), payload["names"], part))


@op("tensor.digest", "io")
def _digest(payload: Payload) -> Payload:
    return {"digests": {name: object_writer.digest(tensor) for name, tensor in tensors_of(payload["handle"]).items()}}


@op("object.write", "bulk")
def _write(payload: Payload) -> Payload:
    tensors, key = tensors_of(payload["handle"]), key_of(payload["key"])
    extern = None if payload["extern"] is None else _extern_source(payload["extern"])
    new = NewFile(payload["path"], fsync=payload["fsync"])
    size, digests = object_writer.write(tensors, new, payload["metadata"], key=key, extern=extern)
    return {"bytes": size, "digests": digests}


def _extern_source(given: Payload) -> object_writer.ExternSource:
    return object_writer.ExternSource(
        file=given["file"],
        open=given["open"],
        size=given["size"],
        mtime_ns=int(given["mtimeNs"]),
        offsets=given["offsets"],
    )


@op("object.read", "io", any_thread=True)
def _read(payload: Payload) -> Payload:
    key = key_of(payload["key"])
    requests = [_request(given) for given in payload["requests"]]
    results = [_read_one(requests[0], key)] if len(requests) == 1 else read_batch(requests, key)
    return {"results": [_reply(result) for result in results]}


_Result = tuple[SlabSet, Header] | BridgeError | None
# Several reads at the same time keep a disk or a network busy.
_READERS = ThreadPoolExecutor(4, thread_name_prefix="draftbridge-read")


def read_batch(requests: list[Request], key: StoreKey | None) -> list[_Result]:
    """What each request finds. A damaged object is a result. Any other failure is raised, and then no memory is
    kept."""
    # When there are as many samples as threads, each thread has one of its own and needs no help.
    parallel = len(requests) < THREADS
    futures = [_READERS.submit(_read_one, request, key, parallel=parallel) for request in requests]
    wait(futures)
    failed = next((error for error in (future.exception() for future in futures) if error is not None), None)
    if failed is None:
        return [future.result() for future in futures]
    for future in futures:
        result = None if future.exception() is not None else future.result()
        if isinstance(result, tuple):
            result[0].close()
    raise failed


def _request(given: Payload) -> Request:
    rows = None if given["rows"] is None else (given["rows"]["start"], given["rows"]["end"])
    return Request(FileObject(given["path"]), given["names"], rows, given["verify"], given["maxBytes"])


def _read_one(request: Request, key: StoreKey | None, *, parallel: bool = True) -> _Result:
    """One object of a batch. A damaged one is a result, so that the others are still read."""
    try:
        return read(request, key, parallel=parallel)
    except BridgeError as exc:
        return exc


def _reply(result: _Result) -> Payload | None:
    if result is None:
        return None
    if isinstance(result, BridgeError):
        return {"error": {"code": result.code, "message": str(result), "details": result.details}}
    tensors, header = result
    return {"set": minted(tensors), "metadata": header.metadata, "digests": header.digests}


@op("object.rekey", "bulk")
def _rekey(payload: Payload) -> Payload:
    old, new = TABLE.borrow(payload["from"], StoreKey), TABLE.borrow(payload["to"], StoreKey)
    copy = NewFile(payload["staged"], fsync=payload["fsync"])
    return {"changed": rekey(FileObject(payload["path"]), copy, old, new)}
