"""Writing an object out of tensors in memory and tensors that stay in a user's file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import torch
import xxhash

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.keys.store_key import StoreKey
from draftbridge.objects.byte_source import FileSource
from draftbridge.objects.file_object import changed, open_source
from draftbridge.objects.finite import refuse_not_finite
from draftbridge.objects.object_header import Extern
from draftbridge.objects.safetensors_header import CODES, Entry, layout
from draftbridge.objects.write.byte_sink import ByteSink
from draftbridge.objects.write.object_draft import ObjectDraft
from draftbridge.objects.write.tensor_in_source import TensorInSource


@dataclass(frozen=True)
class ExternSource:
    """A file that holds some of the tensors already."""

    file: str
    """The path that the object's header names."""
    open: str
    """The path to read it from now."""
    size: int
    mtime_ns: int
    offsets: dict[str, int]
    """By tensor name: the byte where it begins."""


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, row-major, not a copy. The tensor must outlive the view."""
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().data


def digest(tensor: torch.Tensor) -> str:
    """xxh3-64 over the bytes as they lie on disk."""
    return f"xxh3_64:{xxhash.xxh3_64_hexdigest(bytes_of(tensor.contiguous()))}"


def write(
    tensors: TensorDict,
    new: AbstractContextManager[ByteSink],
    metadata: Mapping[str, str],
    key: StoreKey | None = None,
    extern: ExternSource | None = None,
) -> tuple[int, dict[str, str]]:
    """Write CPU `tensors` to the sink that `new` makes and, after an error, throws away. Returns the object's size in
    bytes and the digest of each tensor (masked in a sealed store).

    Raises FEATURE_INVALID for what cannot be stored, and what `new` raises.
    """
    _expect_storable(tensors)
    if extern is not None and key is not None and key.mode == "seal":
        fix = "copy the tensors into the store (link mode copy)"
        found = "store.auth.mode: seal"
        raise BridgeError("CONFIG_INVALID", "a sealed store leaves no tensor outside", found=found, fix=fix)
    outside = {} if extern is None else extern.offsets
    inside = {name: tensor for name, tensor in tensors.items() if name not in outside}
    with ExitStack() as stack, new as sink:
        there = None if extern is None else _extern_of(tensors, extern)
        draft = ObjectDraft(layout(inside), metadata, key, there)
        draft.reserve()
        for entry in draft.entries:
            draft.put(entry.name, bytes_of(inside[entry.name].contiguous()), sink)
        if extern is not None and there is not None:
            _check_outside(draft, tensors, extern, there, open_source(extern.open, stack))
        return draft.finish(sink), draft.digests


def _check_outside(
    draft: ObjectDraft, tensors: TensorDict, given: ExternSource, extern: Extern, file: FileSource
) -> None:
    """Make the digests and checks of the tensors that stay in their file. Raises FEATURE_INVALID when it changed."""
    found = changed(file, given.size, given.mtime_ns)
    suspects: TensorDict = {}
    for name, entry in extern.entries.items():
        if found is None and entry.end > given.size:
            found = f"{given.size} bytes; {name} needs {entry.end}"
        if found is None:
            data = TensorInSource(file, entry)
            draft.put(name, data, None)
            if not data.finite:
                suspects[name] = tensors[name]
    if found is None:
        refuse_not_finite(suspects, given.file)
    found = found or changed(file, given.size, given.mtime_ns)
    if found is not None:
        fix = "let nothing write to the feature files while they are ingested, and run again"
        raise BridgeError("FEATURE_INVALID", "the feature file changed", file=given.file, found=found, fix=fix)


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
