"""How the file system misbehaves. Each field is one mood; a file system has any of them."""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from wire import Op

_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)


@dataclass
class Mood:
    cache_seconds: float = 0
    """For how long the kernel believes names and attributes, as a client of GlusterFS or NFS does."""
    negative_seconds: float = 0
    """For how long the kernel believes that there is no such name: what others make is seen late."""
    eio_for_gone: bool = False
    """A link to a file that another machine has removed ends in EIO, as GlusterFS may say."""
    no_links: bool = False
    """Hard links are refused."""
    not_empty: int = 0
    """The errno instead of ENOTEMPTY, as sshfs gives EPERM."""
    stale_read_every: int = 0
    """Each n-th read of an object ends in ESTALE."""
    stale_close: bool = False
    """Closing an object that was read ends in ESTALE."""
    inodes_above: int = 0
    """Added to every inode number."""
    lost_every: int = 0
    """Each n-th rename and link is done twice, as NFS does when the first answer is lost. The second answer counts."""
    short_reads: bool = False
    """A read gives half of what is asked for."""
    clock_seconds: float = 0
    """Files bear the time of this machine's clock, which is so many seconds ahead (behind: below 0)."""
    clock_jumps: bool = False
    """Every second stamp is that much ahead, every other one behind."""
    slow_seconds: float = 0
    """How long each call takes."""
    _stamps: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _reads: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _moves: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def reads_matter(self) -> bool:
        """Each read must come here: the kernel hides bad ones where it reads ahead."""
        return self.short_reads or self.stale_read_every > 0

    def before(self, op: int) -> None:
        if self.slow_seconds and op != Op.INIT:
            time.sleep(self.slow_seconds)

    def readable(self, file: str, size: int) -> int:
        """How many bytes a read of `size` bytes gives."""
        if self.stale_read_every and ".safetensors" in file and next(self._reads) % self.stale_read_every == 0:
            raise OSError(errno.ESTALE, "a mood")
        return max(1, size // 2) if self.short_reads else size

    def close(self, file: str) -> None:
        if self.stale_close and ".safetensors" in file:
            raise OSError(errno.ESTALE, "a mood")

    def stamp(self, file: str | int) -> None:
        """Called after each call that gives a file the present time."""
        if self.clock_seconds:
            apart = -self.clock_seconds if self.clock_jumps and next(self._stamps) % 2 else self.clock_seconds
            now = time.time_ns() + int(apart * 1e9)
            os.utime(file, ns=(now, now))

    def change(self, op: int, step: Callable[[], None]) -> None:
        if self.no_links and op == Op.LINK:
            raise OSError(errno.EPERM, "a mood")
        moves = op in (Op.LINK, Op.RENAME, Op.RENAME2)
        lost = bool(self.lost_every) and moves and next(self._moves) % self.lost_every == 0
        try:
            step()
            if lost:
                step()
        except OSError as exc:
            if self.not_empty and op in (Op.RENAME, Op.RENAME2, Op.RMDIR) and exc.errno in _NOT_EMPTY:
                raise OSError(self.not_empty, "a mood") from exc
            raise
