"""Reads columns of whole-number lists from an Arrow IPC stream, the form in which data sets are saved to disk.

Format: https://arrow.apache.org/docs/format/Columnar.html (messages of a flatbuffer header and a body of buffers).
The file is mapped; nothing in it is trusted: every offset is checked against the bytes that are there.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _RECORD_BATCH = 1, 3
# Numbers of the types in Arrow's Schema.fbs, and how many buffers a column of each has beside its children.
_INT, _BOOL, _LIST, _LARGE_LIST = 2, 6, 12, 21
_BUFFERS = {1: 0, 2: 2, 3: 2, 4: 3, 5: 3, 6: 2, 7: 2, 8: 2, 9: 2, 10: 2, 11: 2, 12: 2, 13: 1, 15: 2, 16: 1, 17: 2}
_BUFFERS |= {18: 2, 19: 3, 20: 3, 21: 2}

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]


class NotArrow(Exception):
    """The file is no Arrow stream, is damaged, or lacks a column. The text says which."""


@dataclass(frozen=True)
class _Field:
    name: str
    kind: int
    bits: int
    signed: bool
    children: tuple[_Field, ...]


@dataclass(frozen=True)
class _Column:
    """Lists of one batch: row i is `values[offsets[i]:offsets[i + 1]]`."""

    offsets: np.ndarray[Any, Any]
    values: np.ndarray[Any, Any]


class ArrowColumns:
    """The list columns `names` of one stream, by row."""

    def __init__(self, file: Path, names: tuple[str, ...]) -> None:
        with file.open("rb") as stream:
            if stream.seek(0, 2) == 0:
                raise NotArrow("an empty file")
            self._data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        self._batches: list[tuple[_Column, ...]] = []
        try:
            self._read(names)
        except (struct.error, IndexError, ValueError, StopIteration, RecursionError) as exc:
            raise NotArrow(f"{file.name} is no Arrow stream, or it is damaged") from exc
        self._starts = np.cumsum([0, *(len(batch[0].offsets) - 1 for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def row(self, index: int) -> tuple[Numbers, ...]:
        """The lists of row `index` as int64, in the order of the names."""
        at = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = index - int(self._starts[at])
        columns = self._batches[at]
        return tuple(
            column.values[column.offsets[row] : column.offsets[row + 1]].astype(np.int64) for column in columns
        )

    def _read(self, names: tuple[str, ...]) -> None:
        fields: list[_Field] | None = None
        for kind, header, body in _messages(self._data):
            if kind == _SCHEMA:
                fields = [_field(header.sub(at)) for at in header.vector(1, 4)]
            elif kind != _RECORD_BATCH or fields is None:
                raise NotArrow("a kind of message that data sets do not have")
            else:
                self._batches.append(_columns(fields, names, header, body))
        if fields is None:
            raise NotArrow("no schema")


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - _number("<i", data, at)

    def place(self, field: int) -> int | None:
        """Where the value of a field is; None if it has its default."""
        size = _number("<H", self._data, self._fields)
        at = 4 + 2 * field
        offset = _number("<H", self._data, self._fields + at) if at < size else 0
        return self._at + offset if offset else None

    def number(self, field: int, form: str, default: int = 0) -> int:
        at = self.place(field)
        return default if at is None else _number(form, self._data, at)

    def table(self, field: int) -> _Table | None:
        at = self.place(field)
        return None if at is None else self.sub(at)

    def sub(self, at: int) -> _Table:
        return _Table(self._data, at + _number("<I", self._data, at))

    def vector(self, field: int, width: int) -> list[int]:
        """Where each element of a vector is."""
        at = self.place(field)
        if at is None:
            return []
        start = at + _number("<I", self._data, at)
        count = _number("<I", self._data, start)
        if start + 4 + count * width > len(self._data):
            raise ValueError("a vector beyond the header")
        return [start + 4 + index * width for index in range(count)]

    def pairs(self, field: int) -> list[tuple[int, int]]:
        return [struct.unpack_from("<qq", self._data, at) for at in self.vector(field, 16)]

    def text(self, field: int) -> str:
        places = self.vector(field, 1)
        return "" if not places else bytes(self._data[places[0] : places[-1] + 1]).decode()


def _number(form: str, data: memoryview, at: int) -> int:
    if at < 0:
        raise ValueError("an offset before the header")
    return int(struct.unpack_from(form, data, at)[0])


def _messages(data: memoryview) -> Iterator[tuple[int, _Table, memoryview]]:
    """Kind, header and body of each message."""
    at = 0
    while at + 8 <= len(data):
        marker, size = struct.unpack_from("<Ii", data, at)
        if marker != _CONTINUATION:
            raise NotArrow("the file does not begin as an Arrow stream does")
        if size == 0:
            return
        start = at + 8
        text = data[start : start + size]
        message = _Table(text, _number("<I", text, 0))
        length = message.number(3, "<q")
        header = message.table(2)
        if size < 0 or length < 0 or header is None or start + size + length > len(data):
            raise ValueError("a message beyond the file")
        yield message.number(1, "<B"), header, data[start + size : start + size + length]
        at = start + size + length
    raise NotArrow("the file ends before its stream does")


def _field(table: _Table) -> _Field:
    kind = table.number(2, "<B")
    about = table.table(3) if kind == _INT else None
    bits, signed = (0, False) if about is None else (about.number(0, "<i"), bool(about.number(1, "<B")))
    if table.place(4) is not None:
        raise NotArrow("a column with a dictionary")
    return _Field(table.text(0), kind, bits, signed, tuple(_field(table.sub(at)) for at in table.vector(5, 4)))


def _columns(fields: list[_Field], names: tuple[str, ...], header: _Table, body: memoryview) -> tuple[_Column, ...]:
    if header.place(3) is not None:
        raise NotArrow("compressed batches")
    nodes, buffers = iter(header.pairs(1)), iter(header.pairs(2))
    found: dict[str, _Column] = {}
    for field in fields:
        if field.name in names:
            found[field.name] = _column(field, nodes, buffers, body)
        else:
            _skip(field, nodes, buffers)
    missing = [name for name in names if name not in found]
    if missing:
        raise NotArrow(f"no column {missing[0]}; there are {', '.join(field.name for field in fields)[:200]}")
    return tuple(found[name] for name in names)


_Pairs = Iterator[tuple[int, int]]


def _skip(field: _Field, nodes: _Pairs, buffers: _Pairs) -> None:
    if field.kind not in _BUFFERS:
        raise NotArrow(f"column {field.name} has a type that is not read")
    next(nodes)
    for _ in range(_BUFFERS[field.kind]):
        next(buffers)
    for child in field.children:
        _skip(child, nodes, buffers)


def _column(field: _Field, nodes: _Pairs, buffers: _Pairs, body: memoryview) -> _Column:
    child = field.children[0] if field.kind in (_LIST, _LARGE_LIST) else None
    if child is None or child.kind not in (_INT, _BOOL):
        raise NotArrow(f"column {field.name} is no list of whole numbers")
    if child.kind == _INT and child.bits not in (8, 16, 32, 64):
        raise NotArrow(f"column {field.name} has numbers of {child.bits} bits")
    (rows, row_nulls), (values, value_nulls) = next(nodes), next(nodes)
    if row_nulls or value_nulls:
        raise NotArrow(f"column {field.name} has empty values")
    _, offsets, _, data = next(buffers), next(buffers), next(buffers), next(buffers)
    starts = _array(body, offsets, "<i8" if field.kind == _LARGE_LIST else "<i4", rows + 1 if rows else 0)
    if child.kind == _BOOL:
        bits = np.frombuffer(_part(body, data), dtype=np.uint8)
        numbers = np.unpackbits(bits, bitorder="little")[:values]
    else:
        numbers = _array(body, data, f"<{'i' if child.signed else 'u'}{child.bits // 8}", values)
    starts = starts if rows else np.zeros(1, dtype=np.int64)
    if rows and (int(starts[0]) < 0 or bool((np.diff(starts) < 0).any()) or int(starts[-1]) > len(numbers)):
        raise ValueError("lists beyond their values")
    return _Column(starts, numbers)


def _array(body: memoryview, place: tuple[int, int], form: str, count: int) -> np.ndarray[Any, Any]:
    return np.frombuffer(_part(body, place), dtype=form, count=count)


def _part(body: memoryview, place: tuple[int, int]) -> memoryview:
    start, size = place
    if start < 0 or size < 0 or start + size > len(body):
        raise ValueError("a buffer beyond its message")
    return body[start : start + size]
