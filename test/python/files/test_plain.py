"""Files that somebody planted in the place of others."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from draftbridge.bridge.errors import BridgeError
from draftbridge.drafts.draft_files import read_tensors, write_durably
from draftbridge.drafts.vocabulary import read_counts
from draftbridge.files.plain import MAX_TEXT_BYTES, NotPlain, open_plain, opened, path_of, read_text
from draftbridge.target.target import identity
from draftbridge.target.target_weights import load_target_weights

_LARGE = 10 << 30


def _link(file: Path) -> None:
    file.with_suffix(".target").write_text("{}")
    file.symlink_to(file.with_suffix(".target"))


def _socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(file))


def _device(file: Path) -> None:
    file.symlink_to("/dev/zero")


PLANTED: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a symbolic link": _link,
    "a socket": _socket,
}


@pytest.fixture(params=PLANTED)
def planted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    PLANTED[request.param](tmp_path / "file")
    return tmp_path / "file", request.param


def test_is_refused_in_every_way_to_open_one(planted: tuple[Path, str]) -> None:
    file, found = planted
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
        with pytest.raises(NotPlain, match=found):
            open_plain(file, flags)
    with pytest.raises(NotPlain, match=found), opened(file):
        pass
    with pytest.raises(NotPlain, match=found), path_of(file):
        pass
    with pytest.raises(NotPlain, match=found):
        read_text(file)


def test_is_refused_with_a_code_where_a_run_reads_or_writes(planted: tuple[Path, str]) -> None:
    file, found = planted
    with pytest.raises(BridgeError, match=found) as counts:
        read_counts(file, 8)
    with pytest.raises(BridgeError, match=found) as written:
        write_durably(file, [b"new"])
    assert [counts.value.code, written.value.code] == ["MANIFEST_INVALID", "STORE_UNAVAILABLE"]


@pytest.mark.parametrize("name", ["a pipe", "a device"])
def test_a_draft_or_a_target_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    (os.mkfifo if name == "a pipe" else _device)(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BridgeError, match=name) as draft:
        read_tensors(tmp_path / "model.safetensors")
    assert draft.value.code == "CHECKPOINT_INVALID"
    for read in (identity, load_target_weights):
        with pytest.raises(BridgeError, match=name) as target:
            read(str(tmp_path))
        assert target.value.code == "CONFIG_INVALID"


def test_a_link_that_the_user_named_is_followed(tmp_path: Path) -> None:
    _link(tmp_path / "file")
    assert read_text(tmp_path / "file", follow=True) == "{}"
    with path_of(tmp_path / "file", follow=True) as path:
        assert Path(path).read_text() == "{}"


def test_ten_gigabytes_are_refused_and_not_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.truncate(file, _LARGE)
    with pytest.raises(NotPlain, match=f"{_LARGE} bytes, of which at most {MAX_TEXT_BYTES}"):
        read_text(file)
    with pytest.raises(BridgeError, match=f"{_LARGE} bytes") as counts:
        read_counts(file, 8)
    assert counts.value.code == "MANIFEST_INVALID"
