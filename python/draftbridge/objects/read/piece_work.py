"""Runs the pieces of one read on several threads. The thread that reads a piece also checks it, while the bytes are in
the cache of its core."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

Task = Callable[[], None]
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# More than four threads only wait for memory bandwidth.
THREADS = min(_CORES, 4)
_HELPERS = THREADS - 1
# Shared by all reads of this process. Its tasks never wait for a read, so a read may wait for them.
_POOL = ThreadPoolExecutor(max(_HELPERS, 1), thread_name_prefix="draftbridge-piece")


def run_tasks(tasks: Sequence[Task], *, parallel: bool) -> None:
    """Run all tasks; with `parallel` also on idle threads of the pool.

    Returns when no task runs any more, also after an error: nobody may get the memory while a thread writes to it.
    Raises what the first task in the order given that failed has raised; those behind it may not have begun.
    """
    queue = _TaskQueue(tasks)
    helpers: list[Future[None]] = []
    try:
        # If a thread cannot be started, its task stays in the pool's queue, and the read goes on without it.
        with contextlib.suppress(RuntimeError):
            for _ in range(min(_HELPERS, len(tasks) - 1) if parallel else 0):
                helpers.append(_POOL.submit(queue.work))
        queue.work()
    finally:
        # A helper that has not begun is busy with another read.
        for helper in helpers:
            helper.cancel()
        queue.end()
    queue.expect_good()


class _TaskQueue:
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
        """When it returns, no task runs and none will: a late helper finds an empty queue."""
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
