"""Writing an object: every tensor is passed over once, and its digest and chunk checks are made on the way."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
import xxhash

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.features.finite import refuse_not_finite
from draftbridge.keys.store_key import StoreKey
from draftbridge.objects.object_errors import storage_error
from draftbridge.objects.object_header import Extern
from draftbridge.objects.open_object import changed, open_plain
from draftbridge.objects.safetensors_header import CODES, Entry, layout
from draftbridge.objects.write.file_bytes import FileBytes
from draftbridge.objects.write.object_draft import ObjectDraft


@dataclass(frozen=True)
class ExternSource:
    """A file that some of the tensors lie in already."""

    file: str
    """As the object is to name it."""
    open: str
    """Where it can be read now."""
    size: int
    mtime_ns: int
    offsets: dict[str, int]
    """Where the tensor of each name begins."""


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, row-major, not a copy. The tensor must outlive the view."""
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().data


def digest(tensor: torch.Tensor) -> str:
    """xxh3-64 over the bytes as they lie on disk."""
    return f"xxh3_64:{xxhash.xxh3_64_hexdigest(bytes_of(tensor.contiguous()))}"


def write(
    tensors: TensorDict,
    path: str,
    metadata: Mapping[str, str],
    fsync: bool,
    key: StoreKey | None = None,
    extern: ExternSource | None = None,
) -> tuple[int, dict[str, str]]:
    """Write CPU `tensors` to the new file `path`. Returns the file's size and the digest of each tensor (masked in a
    sealed store).

    The file is never there half-written after an error. Raises BridgeError STORE_FULL, STORE_UNAVAILABLE, or
    FEATURE_INVALID for what cannot be stored.
    """
    _expect_storable(tensors)
    if extern is not None and key is not None and key.mode == "seal":
        fix = "copy the tensors into the store (link mode copy)"
        found = "store.auth.mode: seal"
        raise BridgeError("CONFIG_INVALID", "a sealed store leaves no tensor outside", found=found, fix=fix)
    outside = {} if extern is None else extern.offsets
    inside = {name: tensor for name, tensor in tensors.items() if name not in outside}
    with ExitStack() as stack, new_file(path, fsync) as fd:
        there = None if extern is None else _extern_of(tensors, extern)
        draft = ObjectDraft(layout(inside), metadata, key, there, synced=fsync)
        draft.reserve()
        for entry in draft.entries:
            draft.put(entry.name, bytes_of(inside[entry.name].contiguous()), fd)
        if extern is not None and there is not None:
            _note_outside(draft, tensors, extern, there, open_plain(extern.open, stack))
        return draft.finish(fd), draft.digests


class new_file(contextlib.AbstractContextManager[int]):
    """A new file at `path`, which is there only when the block ends well."""

    def __init__(self, path: str, fsync: bool) -> None:
        self._path = path
        self._fsync = fsync
        self._fd = -1

    def __enter__(self) -> int:
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise storage_error(self._path, exc) from exc
        return self._fd

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            try:
                if error is None and self._fsync:
                    os.fsync(self._fd)
            finally:
                os.close(self._fd)
        except OSError as exc:
            error = error or exc
        if error is None:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        if isinstance(error, OSError):
            raise storage_error(self._path, error) from error


def _note_outside(draft: ObjectDraft, tensors: TensorDict, source: ExternSource, extern: Extern, fd: int) -> None:
    """Digests and checks of the tensors that stay in their file, from the bytes in it."""
    found = changed(fd, source.size, source.mtime_ns)
    for name, entry in extern.entries.items():
        if found is None and entry.end > source.size:
            found = f"{source.size} bytes; {name} needs {entry.end}"
        if found is None:
            data = FileBytes(fd, entry)
            draft.put(name, data, None)
            if not data.finite:
                refuse_not_finite(name, tensors[name], source.file)
    found = found or changed(fd, source.size, source.mtime_ns)
    if found is not None:
        fix = "let nothing write to the feature files while they are ingested, and run again"
        raise BridgeError("FEATURE_INVALID", "the feature file changed", file=source.file, found=found, fix=fix)


def _extern_of(tensors: TensorDict, source: ExternSource | None) -> Extern | None:
    if source is None:
        return None
    entries = {}
    for name, start in source.offsets.items():
        tensor = tensors[name]
        size = tensor.numel() * tensor.element_size()
        entries[name] = Entry(name, tensor.dtype, tuple(tensor.shape), start, start + size)
    return Extern(source.file, source.size, source.mtime_ns, entries)


def _expect_storable(tensors: TensorDict) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype not in CODES or tensor.device.type != "cpu" or tensor.layout != torch.strided:
            found = f"{tensor.dtype} on {tensor.device}"
            raise BridgeError("FEATURE_INVALID", "this tensor cannot be stored", field=name, found=found)
