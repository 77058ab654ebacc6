"""Checks beside reading: a second thread takes a piece when it has nothing to do, and otherwise the reading thread
checks it itself. A free core hides the checks altogether; without one they cost what they cost in line."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from types import TracebackType

_POOL = ThreadPoolExecutor(4, thread_name_prefix="draftbridge-check")
Check = Callable[[memoryview, int], None]
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_Task = tuple[Check, memoryview, int]


class CheckThread:
    """Leaving the block waits for all checks and raises what one that failed raised. Checks run in any order."""

    def __init__(self, *, beside: bool) -> None:
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._done: Future[None] | None = _POOL.submit(self._work) if beside and _CORES > 1 else None

    def run(self, check: Check, piece: memoryview, start: int) -> None:
        if self._done is None or not self._queue.empty():
            check(piece, start)
        else:
            self._queue.put((check, piece, start))

    def __enter__(self) -> CheckThread:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._done is None:
            return
        try:
            if error is None:
                self._take_over()
        finally:
            # Also after an error: nobody may get the memory while a check still looks at it.
            self._queue.put(None)
            failed = None if self._done.cancel() else self._done.exception()
        if error is None and failed is not None:
            raise failed

    def _take_over(self) -> None:
        while True:
            try:
                task = self._queue.get_nowait()
            except Empty:
                return
            if task is not None:
                check, piece, start = task
                check(piece, start)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            check, piece, start = task
            check(piece, start)
