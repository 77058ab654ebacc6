"""The messages between the kernel and a FUSE file system, as include/uapi/linux/fuse.h defines them (protocol 7.31)."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct("<IIQQIIII")
REPLY = struct.Struct("<IiQ")
MAX_IO = 1 << 17
DIRECT_IO = 1


class Op(IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    BATCH_FORGET = 42
    RENAME2 = 45


@dataclass(frozen=True)
class Request:
    op: int
    unique: int
    node: int
    body: bytes

    @staticmethod
    def of(message: bytes) -> Request:
        size, op, unique, node, *_ = HEADER.unpack_from(message)
        return Request(op, unique, node, message[HEADER.size : size])

    def ints(self, form: str) -> tuple[int, ...]:
        return struct.unpack_from("<" + form, self.body)

    def names(self, after: int = 0) -> list[str]:
        return [name.decode() for name in self.body[after:].split(b"\0")[:-1]]


def mount_kernel(point: str) -> int:
    """The descriptor that the kernel's requests for `point` come from. Needs root and /dev/fuse."""
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(
        b"draftbridge-test",
        point.encode(),
        b"fuse.draftbridge-test",
        0,
        options.encode(),
    ):
        error = ctypes.get_errno()
        raise OSError(error, f"mount: {os.strerror(error)}")
    return fd


def unmount_kernel(point: str) -> None:
    lazily = 2
    ctypes.CDLL(None).umount2(point.encode(), lazily)


def seconds(time: float) -> tuple[int, int]:
    return int(time), int(time % 1 * 1e9)


def attributes(info: os.stat_result, inode: int) -> bytes:
    times = (info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns)
    whole, parts = [ns // 10**9 for ns in times], [ns % 10**9 for ns in times]
    kept = (
        info.st_mode,
        info.st_nlink,
        info.st_uid,
        info.st_gid,
        info.st_rdev,
        4096,
        0,
    )
    return struct.pack("<6Q10I", inode, info.st_size, info.st_blocks, *whole, *parts, *kept)


def entry(node: int, valid: float, attr_valid: float, attrs: bytes) -> bytes:
    """What a name stands for; node 0: nothing, which the kernel may remember for `valid` seconds too."""
    (at, nanos), (attr_at, attr_nanos) = seconds(valid), seconds(attr_valid)
    return struct.pack("<QQQQII", node, 0, at, attr_at, nanos, attr_nanos) + attrs


def attr_reply(valid: float, attrs: bytes) -> bytes:
    return struct.pack("<QII", *seconds(valid), 0) + attrs


def opened(handle: int, flags: int) -> bytes:
    return struct.pack("<QII", handle, flags, 0)


def init_reply() -> bytes:
    big_writes = 1 << 5
    return struct.pack(
        "<IIIIHHIIHHI7I",
        7,
        31,
        MAX_IO,
        big_writes,
        12,
        9,
        MAX_IO,
        1,
        32,
        0,
        0,
        *[0] * 7,
    )


def statfs_reply(path: str) -> bytes:
    info = os.statvfs(path)
    counts = (info.f_blocks, info.f_bfree, info.f_bavail, info.f_files, info.f_ffree)
    return struct.pack("<5Q3I7I", *counts, info.f_bsize, info.f_namemax, info.f_frsize, *[0] * 7)


def listing(names: list[str], offset: int, size: int) -> bytes:
    found = b""
    for at, name in enumerate(names[offset:], offset + 1):
        text = name.encode()
        record = struct.pack("<QQII", at, at, len(text), 0) + text
        record += b"\0" * (-len(record) % 8)
        if len(found) + len(record) > size:
            break
        found += record
    return found
