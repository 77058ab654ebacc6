"""An object need not be a file: it is read, checked and written through sources and sinks of any kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from draftbridge.bridge.errors import BridgeError
from draftbridge.keys.store_key import StoreKey
from draftbridge.objects.byte_source import FileSource, read_bytes
from draftbridge.objects.object_header import Extern
from draftbridge.objects.object_rekey import rekey
from draftbridge.objects.read.object_reader import Request, read
from draftbridge.objects.write.byte_sink import ByteSink, NewFile
from draftbridge.objects.write.object_writer import write
from object_case import equal, get, key, put, tensors


@dataclass
class MemoryObject:
    """An object in memory, as a network client would leave it in a registered buffer."""

    data: bytearray
    name: str = "memory"

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, into: memoryview, offset: int) -> int:
        part = self.data[offset : offset + len(into)]
        into[: len(part)] = part
        return len(part)

    def write(self, data: memoryview, offset: int) -> None:
        self.data.extend(bytes(max(0, offset + len(data) - len(self.data))))
        self.data[offset : offset + len(data)] = data

    def open(self, stack: ExitStack) -> MemoryObject | None:
        return self if self.data else None

    def open_extern(self, extern: Extern, stack: ExitStack) -> MemoryObject | None:
        return None

    def new(self) -> AbstractContextManager[ByteSink]:
        @contextmanager
        def written() -> Iterator[ByteSink]:
            yield self

        return written()


@pytest.mark.parametrize("under", [None, key("mac"), key("seal")])
def test_an_object_in_memory_reads_as_one_in_a_file_does(under: StoreKey | None, tmp_path: Path) -> None:
    path = str(tmp_path / "object")
    put(tensors(), path, {"sample_id": "a"}, key=under)
    stored = MemoryObject(bytearray(Path(path).read_bytes()))
    for rows in (None, (1, 3)):
        found = read(Request(stored, ["hidden_state", "input_ids"], rows, True, None), under)
        expected, header = get(path, under, ["hidden_state", "input_ids"], rows)
        assert found is not None and equal(found[0], expected)
        assert found[1].metadata == header.metadata == {"sample_id": "a"}


def test_an_object_is_written_to_memory_as_to_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "object")
    stored = MemoryObject(bytearray())
    assert write(tensors(), stored.new(), {"sample_id": "a"}) == put(tensors(), path, {"sample_id": "a"})
    assert bytes(stored.data) == Path(path).read_bytes()


def test_an_object_in_memory_gets_another_key() -> None:
    old, new = key("mac"), key("mac", salt=1)
    stored, copy = MemoryObject(bytearray()), MemoryObject(bytearray())
    write(tensors(), stored.new(), {}, key=old)
    assert rekey(stored, copy.new(), old, new)
    found = read(Request(copy, None, None, True, None), new)
    assert found is not None and equal(found[0], tensors())


def test_an_object_that_is_not_there_is_none_and_a_short_one_is_damaged() -> None:
    stored = MemoryObject(bytearray())
    assert read(Request(stored, None, None, True, None)) is None
    write(tensors(), stored.new(), {})
    whole = bytes(stored.data)
    for size in (1, 7, 100, 4096, len(whole) - 1):
        stored.data = bytearray(whole[:size])
        with pytest.raises(BridgeError, match="memory") as caught:
            read(Request(stored, None, None, True, None))
        assert caught.value.code == "SAMPLE_CORRUPT"


def test_a_source_of_a_file_reads_to_its_end_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(10)))
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        source = FileSource.of("file", fd)
        assert source.size == 10
        assert read_bytes(source, 4, 3) == bytes([3, 4, 5, 6])
        assert read_bytes(source, 4, 8) == bytes([8, 9])
        assert read_bytes(source, 4, 10) == b""
    finally:
        os.close(fd)


@pytest.mark.parametrize("fsync", [True, False])
def test_a_new_file_is_there_only_when_all_went_well(tmp_path: Path, fsync: bool) -> None:
    path = str(tmp_path / "new")
    with pytest.raises(KeyError), NewFile(path, fsync=fsync) as sink:
        sink.write(memoryview(b"half"), 0)
        raise KeyError
    assert not os.path.exists(path)
    with NewFile(path, fsync=fsync) as sink:
        sink.write(memoryview(b"data"), 4)
        sink.write(memoryview(b"head"), 0)
    assert Path(path).read_bytes() == b"headdata"
    with pytest.raises(BridgeError) as caught, NewFile(path, fsync=fsync):
        pass
    assert caught.value.code == "STORE_UNAVAILABLE"
    assert Path(path).read_bytes() == b"headdata"
