"""Reads a safetensors file of another program into memory, without mapping it.

Format: https://github.com/huggingface/safetensors (8-byte little-endian length, JSON header, data).
"""

from __future__ import annotations

import json
import math
import os
from typing import Any, TypeGuard

import torch

from draftbridge.files.plain import opened
from draftbridge.files.positioned import bytes_at, read_at
from draftbridge.objects.safetensors_header import DTYPES

# The limit of the safetensors library. Feature files have headers of a few hundred bytes.
_MAX_HEADER = 100_000_000


_TYPES = {
    **DTYPES,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "F8_E4M3": torch.float8_e4m3fn,
}


class DamagedFile(Exception):
    """The file is damaged. The text states the damage."""


def read_safetensors(file: str) -> dict[str, torch.Tensor]:
    """All tensors by name, each in its own memory. Raises DamagedFile, or OSError from the file system."""
    with opened(file, follow=True) as fd:
        header, base, size = _described(fd)
        return {name: _tensor(fd, name, about, base, size) for name, about in header.items()}


def names_in(file: str) -> list[str]:
    """The names of the tensors, which are not read. Raises DamagedFile, or OSError from the file system."""
    with opened(file, follow=True) as fd:
        return list(_described(fd)[0])


def _described(fd: int) -> tuple[dict[str, Any], int, int]:
    """The header, where the data begins, and the size of the file."""
    size = os.fstat(fd).st_size
    length = int.from_bytes(bytes_at(fd, 8, 0), "little")
    if size < 8 or length > min(_MAX_HEADER, size - 8):
        raise DamagedFile(f"a header of {length} bytes in a file of {size} bytes")
    return _header(bytes_at(fd, length, 8)), 8 + length, size


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise DamagedFile(f"the header is not JSON: {str(exc)[:200]}") from None
    if not isinstance(header, dict):
        raise DamagedFile("the header is not a JSON object")
    header.pop("__metadata__", None)
    return header


def _tensor(fd: int, name: str, about: Any, base: int, size: int) -> torch.Tensor:
    field = name[:80]
    if not isinstance(about, dict):
        raise DamagedFile(f"{field}: no description of a tensor")
    dtype, shape, offsets = _TYPES.get(str(about.get("dtype"))), about.get("shape"), about.get("data_offsets")
    if dtype is None:
        raise DamagedFile(f"{field}: dtype {str(about.get('dtype'))[:80]}")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise DamagedFile(f"{field}: a shape or data_offsets that are not lists of counts")
    start, end = base + offsets[0], base + offsets[1]
    needed = dtype.itemsize * math.prod(shape)
    # Checked before memory is allocated: a header can state any size. Torch computes strides also for axes of length 0.
    if needed != end - start or end > size or math.prod(max(width, 1) for width in shape) >= 2**53:
        raise DamagedFile(f"{field}: data_offsets {offsets}, shape {str(shape)[:80]} and a file of {size} bytes")
    tensor = torch.empty(shape, dtype=dtype)
    if needed and read_at(fd, tensor.reshape(-1).view(torch.uint8).numpy().data, start) < needed:
        raise DamagedFile(f"{field}: the file ends inside this tensor")
    return tensor


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    if not isinstance(value, list) or len(value) > 8:
        return False
    return all(type(item) is int and 0 <= item < 2**53 for item in value)
