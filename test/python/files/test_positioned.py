"""Calls that do only a part are repeated until all is done, or the file ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from draftbridge.files.positioned import bytes_at, read_at, write_at


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(opened, bytes(range(100)))
    yield opened
    os.close(opened)


def three_bytes_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    read, read_into, write = os.pread, os.preadv, os.pwrite
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: read(fd, min(size, 3), offset))
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: read_into(fd, [views[0][:3]], offset))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, data[:3], offset))


@pytest.mark.parametrize("short", [False, True])
def test_reads_are_complete(fd: int, short: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if short:
        three_bytes_a_call(monkeypatch)
    into = memoryview(bytearray(40))
    assert read_at(fd, into, 10) == 40
    assert bytes(into) == bytes(range(10, 50))
    assert bytes_at(fd, 7, 90) == bytes(range(90, 97))


def test_the_end_of_the_file_is_told_by_the_count(fd: int) -> None:
    into = memoryview(bytearray(40))
    assert read_at(fd, into, 75) == 25
    assert bytes(into) == bytes(range(75, 100)) + bytes(15)
    assert read_at(fd, into, 100) == 0
    assert bytes_at(fd, 40, 98) == b"\x62\x63"


@pytest.mark.parametrize("short", [False, True])
def test_writes_are_complete(fd: int, short: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if short:
        three_bytes_a_call(monkeypatch)
    write_at(fd, memoryview(b"x" * 20), 95)
    assert bytes_at(fd, 200, 90) == bytes(range(90, 95)) + b"x" * 20
