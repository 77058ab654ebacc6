"""Tensors that equal samples share: one file, named by a hash of its content, to which each sample has a link.

The first page marks the file; the tensors follow, laid out as in an object. The hash alone proves nothing: before a
file is shared, every byte is compared.
"""

from __future__ import annotations

from typing import Any

import torch
import xxhash

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict, tensors_of
from draftbridge.bridge.registry import Payload, op
from draftbridge.files.plain import NotPlain, open_plain
from draftbridge.files.positioned import close_read
from draftbridge.objects.byte_source import ByteSource, FileSource, read_bytes
from draftbridge.objects.object_errors import storage_error
from draftbridge.objects.safetensors_header import ALIGNMENT, CODES, layout
from draftbridge.objects.write.byte_sink import NewFile
from draftbridge.objects.write.object_writer import bytes_of

_MARK = "draftbridge.content.1"
_CHUNK = 1 << 20


def name_of(tensors: TensorDict) -> str:
    """32 hex digits over names, dtypes, shapes and bytes."""
    hasher = xxhash.xxh3_128()
    for entry in layout(tensors):
        hasher.update(f"{entry.name}:{CODES[entry.dtype]}:{list(entry.shape)};".encode())
        hasher.update(bytes_of(tensors[entry.name].contiguous()))
    return str(hasher.hexdigest())


def write(tensors: TensorDict, path: str, name: str, fsync: bool) -> None:
    """The new file `path`; nothing is left of it after an error."""
    with NewFile(path, fsync=fsync) as sink:
        sink.write(memoryview(_first_page(name)), 0)
        for entry in layout(tensors):
            sink.write(bytes_of(tensors[entry.name].contiguous()), ALIGNMENT + entry.start)


def compare(tensors: TensorDict, path: str, name: str) -> bool | None:
    """Whether the file holds exactly these tensors; None when there is none."""
    try:
        fd = open_plain(path)
    except FileNotFoundError:
        return None
    except NotPlain:
        return False
    except OSError as exc:
        raise storage_error(path, exc) from exc
    try:
        source = FileSource.of(path, fd)
        entries = layout(tensors)
        size = ALIGNMENT + (entries[-1].end if entries else 0)
        if source.size != size:
            return False
        if read_bytes(source, ALIGNMENT, 0) != _first_page(name):
            return False
        return all(_same(source, ALIGNMENT + entry.start, tensors[entry.name]) for entry in entries)
    except OSError as exc:
        raise storage_error(path, exc) from exc
    finally:
        close_read(fd)


def _first_page(name: str) -> bytes:
    return f"{_MARK} {name}\n".encode().ljust(ALIGNMENT, b"\0")


def _same(source: ByteSource, offset: int, tensor: torch.Tensor) -> bool:
    whole = torch.frombuffer(bytearray(), dtype=torch.uint8) if tensor.numel() == 0 else tensor.contiguous()
    wanted = whole.reshape(-1).view(torch.uint8)
    buffer = torch.empty(min(_CHUNK, len(wanted)), dtype=torch.uint8)
    view = bytes_of(buffer)
    for at in range(0, len(wanted), _CHUNK):
        size = min(_CHUNK, len(wanted) - at)
        if source.read(view[:size], offset + at) < size or not torch.equal(buffer[:size], wanted[at : at + size]):
            return False
    return True


def _offsets(tensors: TensorDict) -> dict[str, int]:
    return {entry.name: ALIGNMENT + entry.start for entry in layout(tensors)}


def _storable(payload: Payload) -> TensorDict:
    tensors = tensors_of(payload["handle"])
    for name, tensor in tensors.items():
        if tensor.dtype not in CODES or tensor.device.type != "cpu" or tensor.layout != torch.strided:
            found = f"{tensor.dtype} on {tensor.device}"
            raise BridgeError("FEATURE_INVALID", "this tensor cannot be stored", field=name, found=found)
    return tensors


@op("content.name", "bulk")
def _name(payload: Payload) -> Payload:
    tensors = _storable(payload)
    return {"name": name_of(tensors), "offsets": _offsets(tensors)}


@op("content.write", "bulk")
def _write(payload: Payload) -> Payload:
    write(_storable(payload), payload["path"], payload["name"], payload["fsync"])
    return {}


@op("content.compare", "bulk")
def _compare(payload: Payload) -> dict[str, Any]:
    return {"same": compare(_storable(payload), payload["path"], payload["name"])}
