"""TensorBoard's event files, and the operations that write them. Without TensorFlow."""

from __future__ import annotations

import errno
import time
from pathlib import Path

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE
from draftbridge.bridge.registry import Payload, op


class EventFile:
    """One file of one process. Each write is in it when it returns: the library's own queue would lose what is on its
    way when the process is killed, and would wait for ever once its thread has met a full disk."""

    def __init__(self, directory: Path, purge_step: int) -> None:
        """What earlier files of `directory` say of `purge_step` and later steps no longer counts."""
        # Only a run that asked for it pays for the import.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # The library's name has the second only; files are read in the order of their names.
            self._writer = EventsWriter(str(directory / "events"), f".{time.time_ns()}")
        except OSError as exc:
            raise self._unwritable(exc) from exc
        self._event = Event
        self._write(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def scalars(self, step: int, wall_time: float, values: dict[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(self._event(step=step, wall_time=wall_time, summary=summary))

    def close(self) -> None:
        self._writer.close()

    def _write(self, event: object) -> None:
        try:
            self._writer.write_event(event)
            self._writer.flush()
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def _unwritable(self, exc: OSError) -> BridgeError:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        return BridgeError(
            "STORE_FULL" if full else "STORE_UNAVAILABLE",
            "The TensorBoard files of the run cannot be written.",
            file=str(self._directory),
            field="train.tensorboard",
            found=f"{errno.errorcode.get(exc.errno or 0, 'error')}: {exc.strerror}",
            fix="free some space, or make the folder writable; the run goes on from its last checkpoint",
        )


@op("tensorboard.open", "io")
def _open(payload: Payload) -> Payload:
    return {"handle": TABLE.mint(EventFile(Path(payload["dir"]), payload["purgeStep"]))}


@op("tensorboard.write", "io")
def _write(payload: Payload) -> Payload:
    file = TABLE.borrow(payload["file"], EventFile)
    file.scalars(payload["step"], payload["wallTime"], payload["scalars"])
    return {}
