"""Reads that the storage ends badly: the sample, or a code, and nothing left behind."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

import pytest
from draftbridge.bridge.errors import BridgeError
from draftbridge.objects.file_object import FileObject
from draftbridge.objects.read.object_reader import Request, read
from object_case import equal, get, put, tensors

Preadv = Callable[[int, list[memoryview], int], int]
REAL: Preadv = os.preadv


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def stale(fd: int, buffers: list[memoryview], offset: int) -> int:
    raise OSError(errno.ESTALE, "the file is gone from the server")


def ended(fd: int, buffers: list[memoryview], offset: int) -> int:
    return 0


def halved(fd: int, buffers: list[memoryview], offset: int) -> int:
    half = buffers[0][: max(1, len(buffers[0]) // 2)]
    return REAL(fd, [half], offset)


@pytest.fixture
def path(tmp_path: object) -> Iterator[str]:
    name = f"{tmp_path}/object"
    put(tensors(), name, {})
    before = open_files()
    yield name
    assert open_files() == before


def reads_as(monkeypatch: pytest.MonkeyPatch, first: list[Preadv], later: Preadv) -> None:
    """What the reads give: one function for each of the first ones, then another for all others."""
    left = list(first)

    def preadv(fd: int, buffers: list[memoryview], offset: int) -> int:
        return (left.pop(0) if left else later)(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)


@pytest.mark.parametrize("bad", [stale, ended])
@pytest.mark.parametrize("good_before", [0, 1, 2])
def test_a_read_that_fails_once_is_made_again(
    path: str, bad: Preadv, good_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads_as(monkeypatch, [*[REAL] * good_before, bad], REAL)
    assert equal(get(path)[0], tensors())


@pytest.mark.parametrize("bad", [stale, ended])
def test_a_read_that_always_fails_is_the_fault_of_the_store_and_not_of_the_sample(
    path: str, bad: Preadv, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads_as(monkeypatch, [REAL], bad)
    with pytest.raises(BridgeError) as caught:
        get(path)
    assert caught.value.code == "STORE_UNAVAILABLE"
    assert path in str(caught.value)


def test_a_sample_that_is_freed_while_it_is_read_is_not_found(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def freed(fd: int, buffers: list[memoryview], offset: int) -> int:
        os.unlink(path)
        return stale(fd, buffers, offset)

    reads_as(monkeypatch, [freed], REAL)
    assert read(Request(FileObject(path), None, None, True, None)) is None


def test_short_reads_are_continued(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reads_as(monkeypatch, [], halved)
    assert equal(get(path)[0], tensors())


def test_an_error_of_the_close_costs_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def close(fd: int) -> None:
        really(fd)
        raise OSError(errno.ESTALE, "the file is gone from the server")

    really = os.close
    monkeypatch.setattr(os, "close", close)
    found = get(path)
    monkeypatch.undo()
    assert equal(found[0], tensors())
