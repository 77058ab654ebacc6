"""A file system that is gone is told as that, whatever was being read, and by whom."""

from __future__ import annotations

import errno
import json
import os

import pytest
from draftbridge import host
from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.file_systems import storage_failure
from draftbridge.bridge.registry import OPS


def refusal(code: int, file: str | None = "/mnt/x") -> OSError:
    return OSError(code, os.strerror(code), file)


@pytest.mark.parametrize("name", ["EIO", "ENOTCONN", "ESTALE", "ESHUTDOWN", "ETIMEDOUT", "EHOSTDOWN"])
def test_what_a_lost_mount_says(name: str) -> None:
    told = storage_failure(refusal(getattr(errno, name)))
    assert told is not None
    assert told.code == "STORE_UNAVAILABLE"
    assert told.details["file"] == "/mnt/x"
    assert told.details["found"].startswith(name)


def test_what_was_made_of_it() -> None:
    made = BridgeError("FEATURE_INVALID", "damaged", file="/mnt/f.ckpt")
    made.__cause__ = ValueError("a library's own")
    made.__cause__.__cause__ = refusal(errno.ENOTCONN, None)
    told = storage_failure(made)
    assert told is not None
    assert (told.code, told.details["file"]) == ("STORE_UNAVAILABLE", "/mnt/f.ckpt")


def test_a_full_disk_that_nobody_has_translated() -> None:
    told = storage_failure(refusal(errno.EDQUOT))
    assert told is not None
    assert told.code == "STORE_FULL"


@pytest.mark.parametrize(
    "exc",
    [
        BridgeError("STORE_FULL", "full"),
        ValueError("a bug"),
        OSError("a library's error without a number"),
        refusal(errno.ENOENT),
    ],
)
def test_everything_else_stays_what_it_is(exc: BaseException) -> None:
    assert storage_failure(exc) is None


def test_the_host_answers_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: object) -> None:
        raise refusal(errno.EIO)

    monkeypatch.setitem(OPS, "host.live", ("io", lost))
    answer = json.loads(host.call("host.live", "{}"))
    assert (answer["ok"], answer["code"]) == (False, "STORE_UNAVAILABLE")
    assert "OSError" in answer["traceback"]
