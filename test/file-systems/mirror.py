"""A folder seen through FUSE. What the kernel asks for by node is done to the very file that the node was made for,
also when another mount has removed or replaced its name meanwhile."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable

import wire
from moods import Mood
from wire import Op, Request

ROOT = 1


class Mirror:
    def __init__(self, folder: str, mood: Mood) -> None:
        self._folder = folder
        self._mood = mood
        self._lock = threading.Lock()
        self._nodes = {ROOT: os.open(folder, os.O_PATH)}
        self._ids = {self._key(self._nodes[ROOT]): ROOT}
        self._lookups = {ROOT: 1}
        self._files: dict[int, int | list[str]] = {}
        self._serial = ROOT

    def answer(self, asked: Request) -> bytes:
        self._mood.before(asked.op)
        if asked.op not in _ANSWERS:
            raise OSError(errno.ENOSYS, "no such call")
        return _ANSWERS[asked.op](self, asked)

    def forget(self, node: int, times: int) -> None:
        with self._lock:
            if node == ROOT or node not in self._lookups:
                return
            self._lookups[node] -= times
            if self._lookups[node] > 0:
                return
            fd = self._nodes.pop(node)
            del self._lookups[node]
            self._ids.pop(self._key(fd), None)
            os.close(fd)

    def lookup(self, asked: Request) -> bytes:
        [name] = asked.names()
        try:
            return self._entry((asked.node, name))
        except FileNotFoundError:
            if not self._mood.negative_seconds:
                raise
            return wire.entry(0, self._mood.negative_seconds, 0, bytes(88))

    def getattr(self, asked: Request) -> bytes:
        return wire.attr_reply(self._mood.cache_seconds, self._attrs(os.fstat(self._nodes[asked.node])))

    def setattr(self, asked: Request) -> bytes:
        valid, _, _, size, _, at, mt, _, an, mn, _, mode, _, uid, gid, _ = asked.ints("IIQQQQQQ8I")
        path = self._path(asked.node)
        if valid & 1:
            os.chmod(path, mode)
        if valid & 6:
            os.chown(path, uid if valid & 2 else -1, gid if valid & 4 else -1)
        if valid & 8:
            os.truncate(path, size)
        if valid & 0x1B0:
            info, now = os.stat(path), time.time_ns() + int(self._mood.clock_seconds * 1e9)
            access = now if valid & 128 else at * 10**9 + an if valid & 16 else info.st_atime_ns
            change = now if valid & 256 else mt * 10**9 + mn if valid & 32 else info.st_mtime_ns
            os.utime(path, ns=(access, change))
        return self.getattr(asked)

    def readlink(self, asked: Request) -> bytes:
        return os.readlink("", dir_fd=self._nodes[asked.node]).encode()

    def symlink(self, asked: Request) -> bytes:
        name, target = asked.names()
        os.symlink(target, name, dir_fd=self._nodes[asked.node])
        return self._entry((asked.node, name))

    def mknod(self, asked: Request) -> bytes:
        [name] = asked.names(16)
        os.mknod(name, asked.ints("I")[0], dir_fd=self._nodes[asked.node])
        return self._entry((asked.node, name))

    def mkdir(self, asked: Request) -> bytes:
        [name] = asked.names(8)
        self._mood.change(
            asked.op,
            lambda: os.mkdir(name, asked.ints("I")[0], dir_fd=self._nodes[asked.node]),
        )
        return self._entry((asked.node, name))

    def unlink(self, asked: Request) -> bytes:
        [name] = asked.names()
        self._mood.change(asked.op, lambda: os.unlink(name, dir_fd=self._nodes[asked.node]))
        return b""

    def rmdir(self, asked: Request) -> bytes:
        [name] = asked.names()
        self._mood.change(asked.op, lambda: os.rmdir(name, dir_fd=self._nodes[asked.node]))
        return b""

    def rename(self, asked: Request) -> bytes:
        old, new = asked.names(8 if asked.op == Op.RENAME else 16)
        there = asked.ints("Q")[0]
        self._mood.change(
            asked.op,
            lambda: os.rename(
                old,
                new,
                src_dir_fd=self._nodes[asked.node],
                dst_dir_fd=self._nodes[there],
            ),
        )
        return b""

    def link(self, asked: Request) -> bytes:
        [name] = asked.names(8)
        node = asked.ints("Q")[0]
        if self._mood.eio_for_gone and os.fstat(self._nodes[node]).st_nlink == 0:
            raise OSError(errno.EIO, "a mood")
        source = self._path(node)
        self._mood.change(
            asked.op,
            lambda: os.link(source, name, dst_dir_fd=self._nodes[asked.node], follow_symlinks=True),
        )
        return self._entry((asked.node, name))

    def open(self, asked: Request) -> bytes:
        flags = asked.ints("I")[0] & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND)
        return self._opened(os.open(self._path(asked.node), flags | os.O_CLOEXEC))

    def create(self, asked: Request) -> bytes:
        flags, mode = asked.ints("II")
        [name] = asked.names(16)
        fd = os.open(
            name,
            (flags | os.O_CREAT | os.O_CLOEXEC) & ~os.O_APPEND,
            mode,
            dir_fd=self._nodes[asked.node],
        )
        self._mood.stamp(fd)
        return self._entry((asked.node, name)) + self._opened(fd)

    def read(self, asked: Request) -> bytes:
        handle, offset, size = asked.ints("QQI")
        size = self._mood.readable(os.readlink(self._path(asked.node)), size)
        return os.pread(self._file(handle), size, offset)

    def write(self, asked: Request) -> bytes:
        handle, offset, size = asked.ints("QQI")
        written = os.pwrite(self._file(handle), asked.body[40 : 40 + size], offset)
        self._mood.stamp(self._file(handle))
        return struct.pack("<II", written, 0)

    def fsync(self, asked: Request) -> bytes:
        os.fsync(self._file(asked.ints("Q")[0]))
        return b""

    def release(self, asked: Request) -> bytes:
        found = self._files.pop(asked.ints("Q")[0], None)
        if isinstance(found, int):
            os.close(found)
        return b""

    def opendir(self, asked: Request) -> bytes:
        return self._opened(self._names(asked.node))

    def readdir(self, asked: Request) -> bytes:
        handle, offset, size = asked.ints("QQI")
        if offset == 0:
            self._files[handle] = self._names(asked.node)
        found = self._files[handle]
        return wire.listing(found if isinstance(found, list) else [], offset, size)

    def flush(self, asked: Request) -> bytes:
        flags = fcntl.fcntl(self._file(asked.ints("Q")[0]), fcntl.F_GETFL)
        if flags & os.O_ACCMODE == os.O_RDONLY:
            self._mood.close(os.readlink(self._path(asked.node)))
        return b""

    def nothing(self, asked: Request) -> bytes:
        return b""

    def statfs(self, asked: Request) -> bytes:
        return wire.statfs_reply(self._folder)

    def _entry(self, at: tuple[int, str]) -> bytes:
        fd = os.open(at[1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._nodes[at[0]])
        info = os.fstat(fd)
        with self._lock:
            key = (info.st_dev, info.st_ino)
            node = self._ids.get(key)
            if node is None:
                self._serial += 1
                node = self._ids[key] = self._serial
                self._nodes[node], self._lookups[node] = fd, 0
            else:
                os.close(fd)
            self._lookups[node] += 1
        return wire.entry(node, self._mood.cache_seconds, self._mood.cache_seconds, self._attrs(info))

    def _opened(self, found: int | list[str]) -> bytes:
        with self._lock:
            self._serial += 1
            self._files[self._serial] = found
            return wire.opened(self._serial, wire.DIRECT_IO if self._mood.reads_matter else 0)

    def _attrs(self, info: os.stat_result) -> bytes:
        return wire.attributes(info, info.st_ino + self._mood.inodes_above)

    def _file(self, handle: int) -> int:
        found = self._files[handle]
        if not isinstance(found, int):
            raise OSError(errno.EISDIR, "a folder")
        return found

    def _names(self, node: int) -> list[str]:
        fd = os.open(self._path(node), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def _path(self, node: int) -> str:
        return f"/proc/self/fd/{self._nodes[node]}"

    @staticmethod
    def _key(fd: int) -> tuple[int, int]:
        info = os.fstat(fd)
        return info.st_dev, info.st_ino


_ANSWERS: dict[int, Callable[[Mirror, Request], bytes]] = {
    Op.LOOKUP: Mirror.lookup,
    Op.GETATTR: Mirror.getattr,
    Op.SETATTR: Mirror.setattr,
    Op.READLINK: Mirror.readlink,
    Op.SYMLINK: Mirror.symlink,
    Op.MKNOD: Mirror.mknod,
    Op.MKDIR: Mirror.mkdir,
    Op.UNLINK: Mirror.unlink,
    Op.RMDIR: Mirror.rmdir,
    Op.RENAME: Mirror.rename,
    Op.RENAME2: Mirror.rename,
    Op.LINK: Mirror.link,
    Op.OPEN: Mirror.open,
    Op.CREATE: Mirror.create,
    Op.READ: Mirror.read,
    Op.WRITE: Mirror.write,
    Op.FSYNC: Mirror.fsync,
    Op.RELEASE: Mirror.release,
    Op.OPENDIR: Mirror.opendir,
    Op.READDIR: Mirror.readdir,
    Op.RELEASEDIR: Mirror.release,
    Op.STATFS: Mirror.statfs,
    Op.FLUSH: Mirror.flush,
    Op.FSYNCDIR: Mirror.nothing,
}
