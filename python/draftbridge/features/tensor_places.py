"""Finds the offsets of tensors in a feature file, so that a store can link the file instead of copying it.

This module unpickles nothing: the caller has loaded the tensors. An offset is accepted if the tensor's memory is mapped
from it, or else if the file has exactly the tensor's bytes there.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import xxhash

from draftbridge.features.mapped_places import Mapped, mapped_places
from draftbridge.files.plain import opened
from draftbridge.files.positioned import bytes_at, read_at

_CHUNK = 1 << 20
_STORAGE = re.compile(r"[^/]+/data/[0-9]+")
_LOCAL_HEADER = 30
_LOCAL_MAGIC = b"PK\x03\x04"
# torch.save writes few storages of the same size. The limit stops a hostile file that would be read many times.
_MAX_CANDIDATES = 16

# For fewer bytes, reading the tensors is faster than reading /proc/self/maps.
_MIN_BYTES_FOR_MAPS = 8 << 20


class CannotStay(Exception):
    """The tensors must be copied. The text is the reason; it names no file, so that equal reasons can be counted."""


@dataclass(frozen=True)
class Stamp:
    """Used to detect that a file has changed."""

    inode: tuple[int, int]
    size: int
    mtime_ns: int

    @staticmethod
    def of(file: str) -> Stamp:
        info = os.stat(file)
        return Stamp((info.st_dev, info.st_ino), info.st_size, info.st_mtime_ns)


def places_of(file: str, whole: Mapping[str, torch.Tensor], rows: int) -> dict[str, int]:
    """Offsets in `file` of the first `rows` rows of each tensor. Raises CannotStay unless they are stored unchanged."""
    if file.endswith(".gz"):
        raise CannotStay("compressed file")
    for tensor in whole.values():
        if not tensor.is_contiguous():
            raise CannotStay("tensor not contiguous")
    with opened(file, follow=True) as fd:
        if file.endswith(".safetensors"):
            offsets = _safetensors_offsets(fd)
            candidates = {name: [offsets[name]] if name in offsets else [] for name in whole}
        else:
            candidates = _zip_candidates(file, fd, whole)
        size = sum(tensor.numel() * tensor.element_size() for tensor in whole.values())
        mapped = mapped_places(file, fd) if size >= _MIN_BYTES_FOR_MAPS and _has_native_byte_order(file) else None
        return {name: _place(fd, tensor[:rows], candidates[name], mapped) for name, tensor in whole.items()}


def _place(fd: int, tensor: torch.Tensor, candidates: list[int], mapped: Mapped | None) -> int:
    # Checked first, because comparing the bytes reads the tensor and the file completely.
    at = None if mapped is None else mapped(tensor.data_ptr())
    return at if at is not None and at in candidates else _matching(fd, tensor, candidates)


def _has_native_byte_order(file: str) -> bool:
    """False if torch has swapped bytes: then memory that is still mapped from the file differs from the file."""
    if file.endswith(".safetensors"):
        return True
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith("/byteorder")]
            return len(names) == 1 and archive.read(names[0]) == sys.byteorder.encode()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeError, OSError):
        return False


def _zip_candidates(file: str, fd: int, whole: Mapping[str, torch.Tensor]) -> dict[str, list[int]]:
    storages = {tensor.untyped_storage().data_ptr() for tensor in whole.values()}
    if len(storages) < len(whole):
        raise CannotStay("tensors share a storage")
    members = _stored_members(file)
    found = {}
    for name, tensor in whole.items():
        size = tensor.numel() * tensor.element_size()
        if tensor.untyped_storage().nbytes() != size:
            raise CannotStay("tensor is part of a larger storage")
        places = [info.header_offset for info in members if info.file_size == size][:_MAX_CANDIDATES]
        found[name] = [at for place in places if (at := _data_offset(fd, place)) is not None]
    return found


def _stored_members(file: str) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeError) as exc:
        raise CannotStay("zip directory not readable") from exc
    return [info for info in infos if _STORAGE.fullmatch(info.filename) and _is_plain(info)]


def _is_plain(info: zipfile.ZipInfo) -> bool:
    return info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1


def _data_offset(fd: int, header: int) -> int | None:
    """The offset after the local header. Only that header has its own length; the zip directory does not."""
    local = bytes_at(fd, _LOCAL_HEADER, header)
    if len(local) < _LOCAL_HEADER or local[:4] != _LOCAL_MAGIC or local[8:10] != b"\0\0":
        return None
    return header + _LOCAL_HEADER + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")


def _safetensors_offsets(fd: int) -> dict[str, int]:
    # The caller has loaded the file with safe_open, which checked this header.
    length = int.from_bytes(bytes_at(fd, 8, 0), "little")
    head = json.loads(bytes_at(fd, length, 8))
    return {name: 8 + length + int(about["data_offsets"][0]) for name, about in head.items() if name != "__metadata__"}


def _matching(fd: int, tensor: torch.Tensor, candidates: list[int]) -> int:
    view = tensor.detach().reshape(-1).view(torch.uint8).numpy().data
    wanted = xxhash.xxh3_128_digest(view)
    for offset in candidates:
        if _digest_at(fd, offset, len(view)) == wanted:
            return offset
    raise CannotStay("tensor not stored as it is")


def _digest_at(fd: int, offset: int, size: int) -> bytes | None:
    hasher = xxhash.xxh3_128()
    buffer = memoryview(bytearray(min(_CHUNK, size)))
    for at in range(0, size, _CHUNK):
        piece = buffer[: size - at]
        if read_at(fd, piece, offset + at) < len(piece):
            return None
        hasher.update(piece)
    return hasher.digest()
