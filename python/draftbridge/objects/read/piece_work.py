"""Pieces of one read, worked off by several threads. Whoever reads a piece also checks it, while it is in the cache of
that thread's core."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

Task = Callable[[], None]
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# More than four only wait for the memory.
THREADS = min(_CORES, 4)
_HELPERS = THREADS - 1
# For all reads of this process together. It never waits for a read, so reads may wait for it.
_POOL = ThreadPoolExecutor(max(_HELPERS, 1), thread_name_prefix="draftbridge-piece")


def work_off(tasks: Sequence[Task], *, beside: bool) -> None:
    """Run all tasks; with `beside` also on threads that have nothing else to do.

    Returns when no task runs any more, also after an error: nobody may get the memory while a thread writes to it.
    Raises what the first task in the order given that failed has raised; those behind it may not have begun.
    """
    line = _Line(tasks)
    helpers: list[Future[None]] = []
    try:
        # A thread that cannot be started is done without; what was asked of it stays in the pool's queue all the same.
        with contextlib.suppress(RuntimeError):
            for _ in range(min(_HELPERS, len(tasks) - 1) if beside else 0):
                helpers.append(_POOL.submit(line.work))
        line.work()
    finally:
        # One that has not begun yet is busy with another read.
        for helper in helpers:
            helper.cancel()
        line.end()
    line.expect_good()


class _Line:
    def __init__(self, tasks: Sequence[Task]) -> None:
        self._left = deque(enumerate(tasks))
        self._failed: list[tuple[int, BaseException]] = []
        self._working = 0
        self._changed = threading.Condition()

    def work(self) -> None:
        with self._changed:
            self._working += 1
        try:
            while self._left:
                self._next()
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def end(self) -> None:
        """When it returns, no task runs, and none will: whoever comes late finds nothing to do."""
        with self._changed:
            self._left.clear()
            self._changed.wait_for(lambda: self._working == 0)

    def expect_good(self) -> None:
        if self._failed:
            raise min(self._failed, key=lambda failure: failure[0])[1]

    def _next(self) -> None:
        try:
            place, task = self._left.popleft()
        except IndexError:
            return
        try:
            task()
        except BaseException as exc:
            self._failed.append((place, exc))
            # Tasks are taken in order, so everything before this one has been begun.
            self._left.clear()
