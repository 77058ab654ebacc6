"""Several threads on one read: every task once, no thread left behind, and the error that one thread would have met."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from draftbridge.objects.read import piece_work
from draftbridge.objects.read.piece_work import run_tasks


@pytest.fixture(params=[1, 3])
def helpers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    count = int(request.param)
    monkeypatch.setattr(piece_work, "_HELPERS", count)
    monkeypatch.setattr(piece_work, "_POOL", ThreadPoolExecutor(count))
    return count


def test_each_task_runs_once(helpers: int) -> None:
    done: list[int] = []
    run_tasks([lambda at=at: done.append(at) for at in range(500)], parallel=True)  # type: ignore[misc]
    assert sorted(done) == list(range(500))
    run_tasks([], parallel=True)


def test_tasks_run_at_the_same_time_only_when_told_so(helpers: int) -> None:
    together = threading.Barrier(2, timeout=20)
    run_tasks([together.wait, together.wait], parallel=True)  # type: ignore[list-item]
    threads: set[int] = set()
    run_tasks([lambda: threads.add(threading.get_ident())] * 100, parallel=False)
    assert threads == {threading.get_ident()}


def test_it_raises_what_the_first_task_that_fails_raises_whoever_is_faster(helpers: int) -> None:
    second_failed = threading.Event()

    def first() -> None:
        assert second_failed.wait(20)
        raise ValueError("first")

    def second() -> None:
        second_failed.set()
        raise ValueError("second")

    with pytest.raises(ValueError, match="first"):
        run_tasks([first, second], parallel=True)


def test_no_task_runs_any_more_when_it_has_raised(helpers: int) -> None:
    begun, failed = threading.Event(), threading.Event()
    ended: list[str] = []

    def slow() -> None:
        begun.set()
        assert failed.wait(20)
        ended.append("slow")

    def failing() -> None:
        assert begun.wait(20)
        failed.set()
        raise MemoryError("no more")

    with pytest.raises(MemoryError):
        run_tasks([slow, failing], parallel=True)
    assert ended == ["slow"]


def test_a_read_does_not_wait_for_helpers_that_are_busy_with_another(helpers: int) -> None:
    stuck = threading.Event()
    busy = [piece_work._POOL.submit(stuck.wait, 20) for _ in range(helpers)]
    done: list[int] = []
    run_tasks([lambda: done.append(1)] * 10, parallel=True)
    assert len(done) == 10
    stuck.set()
    assert all(future.result() for future in busy)


def test_reads_that_are_helpers_of_none_run_side_by_side(helpers: int) -> None:
    done: list[int] = []
    readers = ThreadPoolExecutor(4)
    reads = [readers.submit(run_tasks, [lambda: done.append(1)] * 100, parallel=True) for _ in range(20)]
    for read in reads:
        read.result(20)
    assert len(done) == 2000


def test_a_thread_that_cannot_be_started_is_done_without_and_touches_nothing_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Callable[[], None]] = []

    class Full:
        """As concurrent.futures does: what was asked for is in the queue before the thread fails to start."""

        def submit(self, work: Callable[[], None]) -> None:
            asked.append(work)
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(piece_work, "_POOL", Full())
    monkeypatch.setattr(piece_work, "_HELPERS", 3)
    done: list[int] = []

    def spoiled() -> None:
        raise ValueError("a piece is damaged")

    with pytest.raises(ValueError, match="damaged"):
        run_tasks([partial(done.append, 0), spoiled, partial(done.append, 2)], parallel=True)
    assert done == [0]
    # The pool finds another thread after all, when the memory belongs to somebody else.
    for late in asked:
        late()
    assert done == [0]
