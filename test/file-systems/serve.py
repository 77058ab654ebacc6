"""python serve.py FOLDER POINT MOOD: shows FOLDER at POINT in a mood (JSON with the fields of `Mood`) until stdin ends.

For each line on stdin it prints how often the kernel has asked for what since the last one, as JSON.

Needs root and /dev/fuse, and nothing that has to be installed."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from collections import Counter

import wire
from mirror import Mirror
from moods import Mood
from wire import Op, Request

_THREADS = 6


_asked: Counter[str] = Counter()


def serve(device: int, mirror: Mirror) -> None:
    while True:
        try:
            asked = Request.of(os.read(device, wire.MAX_IO + 4096))
        except OSError as exc:
            # A request that was interrupted before it was read.
            if exc.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                continue
            return
        _asked[_name(asked.op)] += 1
        if asked.op == Op.FORGET:
            mirror.forget(asked.node, asked.ints("Q")[0])
        elif asked.op == Op.BATCH_FORGET:
            for at in range(asked.ints("I")[0]):
                mirror.forget(*Request(0, 0, 0, asked.body[8 + 16 * at :]).ints("QQ"))
        elif asked.op != Op.INTERRUPT:
            _reply(device, asked, mirror)


def _name(op: int) -> str:
    return Op(op).name if op in Op._value2member_map_ else str(op)


def _reply(device: int, asked: Request, mirror: Mirror) -> None:
    code, found = 0, b""
    try:
        found = wire.init_reply() if asked.op == Op.INIT else mirror.answer(asked)
    except OSError as exc:
        code = exc.errno or errno.EIO
    except KeyError:
        # A node that was forgotten while the call was on its way.
        code = errno.ESTALE
    try:
        os.write(
            device,
            wire.REPLY.pack(wire.REPLY.size + len(found), -code, asked.unique) + found,
        )
    except OSError as exc:
        # Nobody waits for the answer any more.
        if exc.errno != errno.ENOENT:
            raise


def main(folder: str, point: str, mood: str) -> None:
    mirror = Mirror(folder, Mood(**json.loads(mood)))
    device = wire.mount_kernel(point)
    for _ in range(_THREADS):
        threading.Thread(target=serve, args=(device, mirror), daemon=True).start()
    print("mounted", flush=True)
    for _ in sys.stdin:
        print(json.dumps(_asked), flush=True)
        _asked.clear()
    wire.unmount_kernel(point)
    os._exit(0)


main(*sys.argv[1:])
