"""Parts of objects, tensors that lie in other files, and what a header may cost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.memory.slab import SlabPool, SlabSet
from draftbridge.objects.write import object_draft
from draftbridge.objects.write.object_writer import ExternSource
from object_case import equal, flip, get, key, put, refusal, resident_growth, tensors


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(object_draft, "CHUNK", 4096)
    folder = tmp_path / "objects" / "ab"
    folder.mkdir(parents=True)
    return str(folder / "sample.safetensors")


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("rows", [(0, 100), (0, 1), (99, 100), (27, 28), (27, 83), (50, 50)])
def test_rows_are_those_of_the_whole_tensor(path: str, rows: tuple[int, int], verify: bool) -> None:
    put(tensors(), path, {})
    names = ["hidden_state", "input_ids"]
    found, _ = get(path, None, names, rows, verify)
    assert equal(found, {name: tensors()[name][rows[0] : rows[1]] for name in names})


def test_rows_that_are_not_there_are_refused(path: str) -> None:
    put(tensors(), path, {})
    for rows in ((0, 101), (-1, 5), (7, 3)):
        with pytest.raises(BridgeError) as caught:
            get(path, None, ["hidden_state"], rows)
        assert caught.value.code == "SPEC_MISMATCH"


def test_a_part_costs_its_chunks_and_is_verified_by_them(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tensors(), path, {})
    base = os.path.getsize(path) - sum(t.numel() * t.element_size() for t in tensors().values())
    asked: list[tuple[int, int]] = []
    whole = os.preadv

    def count(fd: int, buffers: list[memoryview], offset: int) -> int:
        # The header is read first, from 0.
        if offset > 0:
            asked.append((offset, len(buffers[0])))
        return whole(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", count)
    # Rows 30 to 40 lie in the bytes 4440 to 5920: the second chunk. input_ids comes first in the file.
    start = base + 800
    get(path, None, ["hidden_state"], (30, 40))
    get(path, None, ["hidden_state"], (30, 40), verify=False)
    assert asked == [(start + 4096, 4096), (start + 4440, 1480)]
    flip(path, start + 4096)
    refusal(lambda: get(path, None, ["hidden_state"], (30, 40)), "SAMPLE_CORRUPT")
    get(path, None, ["hidden_state"], (0, 20))
    get(path, None, ["input_ids"])


def test_a_large_object_is_checked_behind_the_reads_as_well(tmp_path: Path) -> None:
    path = str(tmp_path / "large")
    large = {"x": torch.arange(3_000_000), "y": torch.ones(5)}
    for under in (None, key("mac"), key("seal")):
        put(large, path, {}, key=under)
        assert equal(get(path, under)[0], large)
        for at in (4096, 12_000_000, os.path.getsize(path) - 21):
            flip(path, at)
            refusal(lambda under=under: get(path, under), "SAMPLE_CORRUPT")  # type: ignore[misc]
            flip(path, at)
        os.unlink(path)


def test_a_header_that_claims_more_than_the_ref_is_not_believed(path: str) -> None:
    head = {"x": {"dtype": "U8", "shape": [1 << 40], "data_offsets": [0, 1 << 40]}}
    text = json.dumps(head).encode()
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + (1 << 40))
    errors: list[BridgeError] = []

    def attempt() -> None:
        errors.append(refusal(lambda: get(path, verify=False, max_bytes=1 << 20), "SAMPLE_CORRUPT"))

    assert resident_growth(attempt) < 1 << 20
    assert str(1 << 40) in str(errors[0])


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("chunk_bytes", "0"),
        ("chunk_bytes", "-4096"),
        ("chunk_bytes", "4097"),
        ("chunk_bytes", "99999999999"),
        ("chunk_bytes", None),
        ("chunks.hidden_state", "00"),
        ("chunks.hidden_state", "zz" * 32),
        ("chunks.hidden_state", None),
        ("chunks.other", ""),
        ("digest.hidden_state", "md5:00"),
        ("mac", "hmac_sha256:" + "0" * 64),
        ("key_id", "00000000"),
        ("auth", "md5"),
        ("extern", "[]"),
        ("extern", "{" * 100_000),
        ("extern", '{"file":"/x","size":1,"mtime_ns":1,"tensors":{},"tensors":{}}'),
        ("extern", '{"file":"extern/../x","size":1,"mtime_ns":1,"tensors":{}}'),
        ("extern", '{"file":"extern/ab/../../../x.bin","size":1,"mtime_ns":1,"tensors":{}}'),
        ("extern", '{"file":"/a/../x","size":1,"mtime_ns":1,"tensors":{}}'),
        ("extern", '{"file":"/x\\u0000y","size":1,"mtime_ns":1,"tensors":{}}'),
        ("extern", '{"file":"/x","size":-1,"mtime_ns":1,"tensors":{}}'),
        ("extern", '{"file":"/x","size":1,"mtime_ns":1.5,"tensors":{}}'),
        ("extern", '{"file":"/x","size":8,"mtime_ns":1,"tensors":{"y":{"offset":1,"dtype":"I64","shape":[1]}}}'),
        ("extern", '{"file":"/x","size":8,"mtime_ns":1,"tensors":{"flags":{"offset":0,"dtype":"U8","shape":[1]}}}'),
        ("extern", '{"file":"/x","size":8,"mtime_ns":1,"tensors":{"y":{"offset":-1,"dtype":"U8","shape":[1]}}}'),
    ],
)
def test_what_the_metadata_may_not_say(path: str, field: str, text: str | None) -> None:
    put(tensors(), path, {})
    raw = Path(path).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8 : 8 + length])
    head["__metadata__"][field] = text
    head["__metadata__"] = {name: value for name, value in head["__metadata__"].items() if value is not None}
    changed = json.dumps(head).encode()
    Path(path).write_bytes(len(changed).to_bytes(8, "little") + changed + raw[8 + length :])
    refusal(lambda: get(path, verify=False), "SAMPLE_CORRUPT")


class TestExtern:
    """`hidden_state` lies in a file of the user."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> ExternSource:
        file = tmp_path / "features.ckpt"
        file.write_bytes(b"?" * 100 + tensors()["hidden_state"].numpy().tobytes() + b"?" * 50)
        info = file.stat()
        return ExternSource(str(file), str(file), info.st_size, info.st_mtime_ns, {"hidden_state": 100})

    @pytest.mark.parametrize("under", [None, key("mac")])
    def test_comes_back_from_its_file_and_adds_no_bytes(self, path: str, source: ExternSource, under: object) -> None:
        chosen = None if under is None else key("mac")
        size, digests = put(tensors(), path, {}, key=chosen, extern=source)
        assert size < 6000
        found, header = get(path, chosen)
        assert equal(found, tensors())
        assert header.digests == digests
        part, _ = get(path, chosen, ["hidden_state"], (30, 40))
        assert equal(part, {"hidden_state": tensors()["hidden_state"][30:40]})

    def test_a_file_that_is_not_what_it_was_is_refused_by_its_name(self, path: str, source: ExternSource) -> None:
        put(tensors(), path, {}, extern=source)
        times = (source.mtime_ns, source.mtime_ns)
        os.utime(source.file, ns=(source.mtime_ns, source.mtime_ns + 1))
        assert source.file in str(refusal(lambda: get(path), "SAMPLE_CORRUPT"))
        flip(source.file, 5000)
        os.utime(source.file, ns=times)
        refusal(lambda: get(path), "SAMPLE_CORRUPT")
        flip(source.file, 5000)
        os.utime(source.file, ns=times)
        get(path)
        os.truncate(source.file, 200)
        os.utime(source.file, ns=times)
        assert "200" in str(refusal(lambda: get(path), "SAMPLE_CORRUPT"))
        os.rename(source.file, source.file + ".away")
        assert "no such file" in str(refusal(lambda: get(path), "SAMPLE_CORRUPT"))
        os.symlink(source.file + ".away", source.file)
        assert "symbolic link" in str(refusal(lambda: get(path), "SAMPLE_CORRUPT"))
        assert equal(get(path, names=["input_ids"])[0], {"input_ids": tensors()["input_ids"]})

    def test_a_file_below_the_store_is_found_from_the_object(
        self, path: str, source: ExternSource, tmp_path: Path
    ) -> None:
        kept = tmp_path / "extern" / "ab" / "a:1.5.bin"
        kept.parent.mkdir(parents=True)
        os.link(source.file, kept)
        below = ExternSource("extern/ab/a:1.5.bin", str(kept), source.size, source.mtime_ns, source.offsets)
        put(tensors(), path, {}, extern=below)
        assert equal(get(path)[0], tensors())

    def test_a_file_that_changes_while_it_is_put_is_refused(self, path: str, source: ExternSource) -> None:
        stale = ExternSource(source.file, source.open, source.size, source.mtime_ns - 1, source.offsets)
        with pytest.raises(BridgeError) as caught:
            put(tensors(), path, {}, extern=stale)
        assert caught.value.code == "FEATURE_INVALID"
        assert not os.path.exists(path)

    def test_a_sealed_store_leaves_nothing_outside(self, path: str, source: ExternSource) -> None:
        refusal(lambda: put(tensors(), path, {}, key=key("seal"), extern=source), "CONFIG_INVALID")


def test_memory_is_used_again_and_never_while_somebody_looks_at_it(path: str) -> None:
    pool = SlabPool(1 << 20)
    first = SlabSet(10_000, pool)
    first["x"] = first.tensor(0, torch.int64, (100,))
    address = first["x"].data_ptr()
    assert address % 4096 == 0
    held = first["x"][50:]
    first.close()
    assert pool.kept == 0
    other = SlabSet(10_000, pool)
    other["x"] = other.tensor(0, torch.int64, (100,))
    assert other["x"].data_ptr() != address
    held.fill_(7)
    again = other["x"].data_ptr()
    other.close()
    other.close()
    assert 10_000 <= pool.kept <= 12_288
    third = SlabSet(9_000, pool)
    assert third.tensor(0, torch.int64, (1,)).data_ptr() == again
    third.close()


def test_memory_kept_for_later_is_bounded() -> None:
    pool = SlabPool(100_000)
    for sets in ([SlabSet(60_000, pool) for _ in range(4)], [SlabSet(200_000, pool)]):
        for each in sets:
            each.close()
        assert pool.kept <= 100_000
