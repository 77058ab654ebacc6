"""object.read, as Node calls it: a batch with good, damaged and missing objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from draftbridge.bridge.handles import TABLE, tensors_of
from draftbridge.bridge.registry import OPS
from draftbridge.memory.slab import POOL
from draftbridge.objects import objects
from draftbridge.objects.read.object_reader import Request
from object_case import equal, flip, get, put, tensors


def request(path: Path, names: list[str] | None = None) -> dict[str, Any]:
    return {"path": str(path), "names": names, "rows": None, "verify": True, "maxBytes": 1 << 20}


def read(*requests: dict[str, Any]) -> list[Any]:
    reply = OPS["object.read"][1]({"requests": list(requests), "key": None})
    assert reply is not None
    return list(reply["results"])


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good"
    put(tensors(), str(path), {"sample_id": "a"})
    return path


def test_each_request_has_its_own_outcome_in_its_place(tmp_path: Path, good: Path) -> None:
    bad = tmp_path / "bad"
    put(tensors(), str(bad), {})
    flip(str(bad), bad.stat().st_size - 1)
    live = len(TABLE)
    outcomes = read(request(bad), request(good), request(tmp_path / "none"), request(good, ["flags"]))
    assert outcomes[0]["error"]["code"] == "SAMPLE_CORRUPT"
    assert outcomes[0]["error"]["details"]["file"] == str(bad)
    assert outcomes[2] is None
    assert equal(tensors_of(outcomes[1]["set"]["handle"]), tensors())
    assert [spec["name"] for spec in outcomes[3]["set"]["features"]] == ["flags"]
    assert outcomes[1]["metadata"] == {"sample_id": "a"}
    assert len(TABLE) == live + 2
    for at in (1, 3):
        TABLE.free(outcomes[at]["set"]["handle"])


@pytest.mark.parametrize("level", [0, 1])
def test_a_folder_that_is_no_plain_one_is_not_entered(tmp_path: Path, level: int) -> None:
    folders = [tmp_path / "objects", tmp_path / "objects" / "ab"]
    folders[1].mkdir(parents=True)
    file = folders[1] / "sample"
    put(tensors(), str(file), {})
    found, *missing = read(request(file), request(folders[1] / "none"), request(tmp_path / "x" / "y" / "z"))
    TABLE.free(found["set"]["handle"])
    assert missing == [None, None]
    folders[level].rename(tmp_path / "outside")
    for planted in ("a symbolic link", "something else"):
        if planted == "a symbolic link":
            folders[level].symlink_to(tmp_path / "outside")
        else:
            folders[level].unlink()
            folders[level].write_bytes(b"")
        [outcome] = read(request(file))
        assert outcome["error"]["code"] == "STORE_UNAVAILABLE"
        assert outcome["error"]["details"]["file"] == str(folders[level])
        assert outcome["error"]["details"]["found"] == planted


def test_a_freed_set_gives_its_memory_to_the_next(good: Path) -> None:
    [first] = read(request(good))
    address = tensors_of(first["set"]["handle"])["hidden_state"].data_ptr()
    [second] = read(request(good))
    assert tensors_of(second["set"]["handle"])["hidden_state"].data_ptr() != address
    TABLE.free(first["set"]["handle"])
    kept = POOL.kept
    assert kept > 0
    TABLE.free(second["set"]["handle"])
    assert POOL.kept > kept


def test_when_memory_runs_out_nothing_of_the_batch_stays_alive(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def scarce(given: Request, _: object, *, parallel: bool) -> object:
        if len(taken) == 2:
            raise MemoryError("no more")
        taken.append(get(given.stored.name))
        return taken[-1]

    monkeypatch.setattr(objects, "read", scarce)
    monkeypatch.setattr(objects, "_READERS", objects.ThreadPoolExecutor(1))
    live = len(TABLE)
    with pytest.raises(MemoryError):
        read(*(request(good) for _ in range(3)))
    assert len(TABLE) == live
    assert all(not found for found, _ in taken)
