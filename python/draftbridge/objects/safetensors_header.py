"""The header of a stored object. Parsing trusts nothing: an attacker may have written the file.

Format: https://github.com/huggingface/safetensors (8-byte little-endian length, JSON, data). Here the header is also
padded so that the data starts on a page. What `__metadata__` says is in object_header.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from draftbridge.objects.object_errors import corrupt

ALIGNMENT = 4096
# Our own headers are a few KiB. A hostile file can make us read and parse this much.
MAX_HEADER = 1 << 20
_MAX_COUNT = 2**53 - 1
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

CODES: dict[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
DTYPES = {code: dtype for dtype, code in CODES.items()}


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies: `start` and `end` count bytes from the beginning of the data."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


def layout(tensors: Mapping[str, torch.Tensor]) -> list[Entry]:
    """Entries without holes. Wide dtypes first, then by name: so each tensor starts at a multiple of its width, which
    readers that map the file need."""
    entries, at = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name]
        size = tensor.numel() * tensor.element_size()
        entries.append(Entry(name, tensor.dtype, tuple(tensor.shape), at, at + size))
        at += size
    return entries


def encode(entries: list[Entry], metadata: Mapping[str, str]) -> bytes:
    """Length, JSON and padding."""
    head: dict[str, Any] = {"__metadata__": dict(metadata)}
    for entry in entries:
        offsets = [entry.start, entry.end]
        head[entry.name] = {"dtype": CODES[entry.dtype], "shape": list(entry.shape), "data_offsets": offsets}
    text = json.dumps(head, separators=(",", ":")).encode("ascii")
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def parse(file: str, text: bytes, data_size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors and the metadata of the header in `text`, for a file whose data is `data_size` bytes long.

    Raises BridgeError SAMPLE_CORRUPT unless every byte of the data belongs to exactly one well-formed tensor.
    """
    head = json_object(file, "header", text)
    metadata = head.pop("__metadata__", {})
    _expect_strings(file, metadata)
    entries = {name: _entry(file, name, value) for name, value in head.items()}
    _expect_no_holes(file, list(entries.values()), data_size)
    return entries, metadata


def json_object(file: str, field: str, text: bytes) -> dict[str, Any]:
    """One JSON object with unique keys. Raises SAMPLE_CORRUPT for anything else."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise corrupt(file, field, "a key that stands there twice")
        return found

    def no_constant(word: str) -> NoReturn:
        raise ValueError(f"{word} is not JSON")

    if not text.startswith(b"{"):
        raise corrupt(file, field, f"starts with {text[:8]!r}, not with '{{'")
    try:
        head = json.loads(text.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except RecursionError:
        raise corrupt(file, field, "JSON nested too deeply") from None
    except ValueError as exc:
        raise corrupt(file, field, f"not JSON: {str(exc)[:120]}") from None
    # It starts with '{' and parsed whole, so it is an object.
    assert isinstance(head, dict)
    return head


def _expect_strings(file: str, metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise corrupt(file, "__metadata__", "something other than text values")


def _entry(file: str, name: str, value: object) -> Entry:
    field = name[:80]
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise corrupt(file, repr(field), "not exactly dtype, shape and data_offsets")
    offsets = value["data_offsets"]
    if not counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise corrupt(file, f"{field}.data_offsets", repr(offsets)[:80])
    entry = entry_at(file, name, value["dtype"], value["shape"], offsets[0])
    if entry.end != offsets[1]:
        found = f"{offsets[1] - offsets[0]} bytes where shape and dtype say {entry.end - entry.start}"
        raise corrupt(file, f"{field}.data_offsets", found)
    return entry


def entry_at(file: str, name: str, code: object, shape: object, start: int) -> Entry:
    """The tensor of this name, dtype code and shape that begins at `start`. SAMPLE_CORRUPT unless all are valid."""
    field = name[:80]
    if not _NAME.fullmatch(name):
        raise corrupt(file, repr(field), "a tensor name that is not lower-case letters, digits and _")
    dtype = DTYPES.get(code) if isinstance(code, str) else None
    if dtype is None:
        raise corrupt(file, f"{field}.dtype", repr(code)[:80])
    if not isinstance(shape, list) or not counts(shape) or len(shape) > 8:
        raise corrupt(file, f"{field}.shape", repr(shape)[:80])
    size, extent = dtype.itemsize, dtype.itemsize
    for width in shape:
        size *= width
        # Torch multiplies strides even where another width is 0, so the product without zeros is bounded too.
        extent *= max(width, 1)
        if extent > _MAX_COUNT:
            raise corrupt(file, f"{field}.shape", f"{repr(shape)[:80]}, more bytes than any file has")
    return Entry(name, dtype, tuple(shape), start, start + size)


def counts(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= _MAX_COUNT for item in value)


def _expect_no_holes(file: str, entries: list[Entry], data_size: int) -> None:
    at = 0
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.end)):
        if entry.start != at:
            kind = "overlaps the tensor before it" if entry.start < at else "leaves a hole before it"
            raise corrupt(file, f"{entry.name}.data_offsets", f"[{entry.start}, {entry.end}], which {kind}")
        at = entry.end
    if at != data_size:
        raise corrupt(file, "data", f"{data_size} bytes where the header says {at}")
