"""Reading an object: its header, then only the bytes that were asked for. The thread that reads a piece checks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.keys.store_key import StoreKey
from draftbridge.memory.slab import SlabSet
from draftbridge.objects.byte_source import ByteSource, StoredObject, fill
from draftbridge.objects.chunk_checks import STEP, accepted_key
from draftbridge.objects.object_errors import asked_again, corrupt, storage_error
from draftbridge.objects.object_header import Header
from draftbridge.objects.open_object import Opened, open_object
from draftbridge.objects.read.piece_checks import ObjectChecks, TensorChecks
from draftbridge.objects.read.piece_work import Task, run_tasks
from draftbridge.objects.safetensors_header import Entry

_PAGE = 4096
_PIECE = 1 << 20
# Smaller reads are done before a second thread has begun.
_PARALLEL_BYTES = 4 << 20


@dataclass(frozen=True)
class Request:
    stored: StoredObject
    names: list[str] | None
    """None: all tensors."""
    rows: tuple[int, int] | None
    """First row and end (not included) on the first axis of every tensor. None: all."""
    verify: bool
    max_bytes: int | None
    """An object whose header claims more bytes of tensors is damaged."""


@dataclass(frozen=True)
class _Part:
    """The bytes of one tensor that are read: `start` and `end` count from the tensor's first byte."""

    entry: Entry
    shape: tuple[int, ...]
    start: int
    end: int
    wanted: int
    """Where the requested bytes begin; `start` may lie before it, at the border of a chunk."""


@dataclass(frozen=True)
class _Region:
    """The bytes of a source from `start` on: those of one tensor."""

    source: ByteSource
    start: int

    def fill(self, name: str, view: memoryview, offset: int) -> None:
        fill(self.source, view, self.start + offset, name)


def read(request: Request, key: StoreKey | None = None, *, parallel: bool = True) -> tuple[SlabSet, Header] | None:
    """The wanted tensors and the header; None when there is no such object. `parallel`: use several threads
    for a large one.

    Under a key the header is authentic; the bytes are too when `verify` asks for it, and always in a sealed object.
    Raises BridgeError SAMPLE_CORRUPT for anything that is not a whole object, and with `verify` for bytes that are not
    those stored.
    """
    try:
        return asked_again(partial(_read_once, request, key, parallel=parallel))
    except OSError as exc:
        raise storage_error(request.stored.name, exc) from exc


def _read_once(request: Request, key: StoreKey | None, *, parallel: bool) -> tuple[SlabSet, Header] | None:
    with ExitStack() as stack:
        opened = open_object(request.stored, stack)
        return None if opened is None else _read_opened(opened, request, key, stack, parallel=parallel)


def _read_opened(
    opened: Opened, request: Request, key: StoreKey | None, stack: ExitStack, *, parallel: bool
) -> tuple[SlabSet, Header] | None:
    header, path = opened.header, request.stored.name
    accepted = accepted_key(path, header, key)
    claimed = sum(entry.end - entry.start for entry in header.tensors.values())
    if request.max_bytes is not None and claimed > request.max_bytes:
        raise corrupt(path, "header", f"{claimed} bytes of tensors; the ref says {request.max_bytes}")
    checked = request.verify or header.auth == "seal"
    parts = [_part(path, header, name, request.rows, checked) for name in _names(path, header, request.names)]
    outside = None
    if header.extern is not None and any(part.entry.name in header.extern.entries for part in parts):
        outside = request.stored.open_extern(header.extern, stack)
        if outside is None:
            return None
    tensors = SlabSet(sum(_paged(part.end - part.start) for part in parts))
    try:
        checks = ObjectChecks(path, header, accepted) if checked else None
        run_tasks(
            _tasks(opened, outside, checks, parts, tensors), parallel=parallel and tensors.size >= _PARALLEL_BYTES
        )
        _expect_bools(path, tensors)
    except BaseException:
        tensors.close()
        raise
    return tensors, header


def _tasks(
    opened: Opened, outside: ByteSource | None, checks: ObjectChecks | None, parts: list[_Part], tensors: SlabSet
) -> list[Task]:
    header = opened.header
    tasks: list[Task] = []
    at = 0
    for part in parts:
        entry, size = part.entry, part.end - part.start
        tensors[entry.name] = tensors.tensor(at + part.wanted - part.start, entry.dtype, part.shape)
        region = _Region(opened.source, opened.data_start + entry.start)
        if outside is not None and entry.name not in header.entries:
            region = _Region(outside, entry.start)
        check = None if checks is None else checks.of(entry)
        tasks += _pieces(region, part, tensors.view(at, size), header.chunk_bytes, check)
        at += _paged(size)
    return tasks


def _names(path: str, header: Header, names: list[str] | None) -> list[str]:
    wanted = list(header.tensors) if names is None else list(dict.fromkeys(names))
    for name in wanted:
        if name not in header.tensors:
            raise corrupt(path, name, "no such tensor in the object")
    return wanted


def _part(path: str, header: Header, name: str, rows: tuple[int, int] | None, checked: bool) -> _Part:
    entry = header.tensors[name]
    size = entry.end - entry.start
    if rows is None:
        return _Part(entry, entry.shape, 0, size, 0)
    first, last = rows
    if not entry.shape or not 0 <= first <= last <= entry.shape[0]:
        found = f"rows {first} to {last} of {list(entry.shape)}"
        raise BridgeError("SPEC_MISMATCH", "the tensor has no such rows", file=path, field=name, found=found)
    width = size // entry.shape[0] if entry.shape[0] else 0
    start, end = first * width, last * width
    shape = (last - first, *entry.shape[1:])
    if not checked or start == end:
        return _Part(entry, shape, start, end, start)
    if not header.chunk_bytes:
        return _Part(entry, shape, 0, size, start)
    chunk = header.chunk_bytes
    return _Part(entry, shape, start // chunk * chunk, min(size, -(-end // chunk) * chunk), start)


def _pieces(region: _Region, part: _Part, view: memoryview, chunk: int, checks: TensorChecks | None) -> Iterator[Task]:
    """The tasks that read one tensor. They may run in any order and at the same time."""
    # A piece that is checked holds whole chunks.
    step = max(_PIECE // chunk, 1) * chunk if chunk else _PIECE
    if checks is not None and checks.whole:
        step = len(view)
    for at in range(0, len(view), step or 1) or (0,):
        yield partial(_fill, region, part.entry.name, view[at : at + step], part.start + at, checks)


def _fill(region: _Region, name: str, view: memoryview, start: int, checks: TensorChecks | None) -> None:
    if checks is None:
        region.fill(name, view, start)
        return
    for span in checks.spans(start, start + len(view)):
        for at in range(span.start, span.end, STEP):
            piece = view[at - start : min(at + STEP, span.end) - start]
            region.fill(name, piece, at)
            span.update(piece)
        span.expect_good()


def _paged(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def _expect_bools(path: str, tensors: SlabSet) -> None:
    for name, tensor in tensors.items():
        # Any other byte in a bool tensor is undefined behaviour in native code.
        if tensor.dtype == torch.bool and bool((tensor.view(torch.uint8) > 1).any()):
            raise corrupt(path, name, "a bool that is neither 0 nor 1")
