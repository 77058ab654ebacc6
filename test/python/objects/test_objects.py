"""Objects on disk: what is written, and everything a hostile file may try."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.objects.file_object import FileObject
from draftbridge.objects.object_header import Header
from draftbridge.objects.objects import clone, synthesize
from draftbridge.objects.read.object_reader import Request, read
from draftbridge.objects.safetensors_header import CODES, MAX_HEADER
from draftbridge.objects.write.object_writer import digest
from object_case import put, resident_growth
from safetensors import safe_open

Head = dict[str, Any]


def specs() -> list[dict[str, Any]]:
    return [
        {"name": "flags", "shape": [3], "dtype": "bool"},
        {"name": "hidden_state", "shape": [5, 3], "dtype": "bfloat16"},
        {"name": "input_ids", "shape": [5], "dtype": "int64"},
        {"name": "empty", "shape": [0, 7], "dtype": "float32"},
        {"name": "loss_mask", "shape": [5], "dtype": "int64"},
    ]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "sample.safetensors")


def raw_file(path: str, text: bytes, data: bytes = b"", length: int | None = None) -> None:
    size = len(text) if length is None else length
    Path(path).write_bytes(size.to_bytes(8, "little") + text + data)


def read_back(path: str, names: list[str] | None, verify: bool) -> tuple[dict[str, torch.Tensor], Header] | None:
    return read(Request(FileObject(path), names, None, verify, None))


def expect_corrupt(path: str, *words: str) -> None:
    with pytest.raises(BridgeError) as caught:
        read_back(path, None, verify=False)
    assert caught.value.code == "SAMPLE_CORRUPT"
    assert {"file", "field", "found", "fix"} <= set(caught.value.details)
    for word in words:
        assert word in str(caught.value)


def test_round_trip_keeps_bytes_dtypes_shapes_and_metadata(path: str) -> None:
    tensors = synthesize(specs(), seed=1)
    size, digests = put(tensors, path, {"sample_id": "a:1"}, fsync=True)
    assert size == os.stat(path).st_size
    found = read_back(path, None, verify=True)
    assert found is not None
    back, header = found
    assert header.metadata == {"sample_id": "a:1"}
    assert header.digests == digests == {name: digest(tensor) for name, tensor in tensors.items()}
    assert set(back) == set(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype and torch.equal(back[name], tensor)


def test_the_safetensors_library_opens_it_and_data_starts_on_a_page(path: str) -> None:
    tensors = synthesize(specs(), seed=2)
    _, digests = put(tensors, path, {"format": "x"})
    with safe_open(path, "pt") as handle:
        stated = handle.metadata()
        assert stated["format"] == "x"
        assert {name: stated[f"digest.{name}"] for name in tensors} == digests
        for name, tensor in tensors.items():
            assert torch.equal(handle.get_tensor(name), tensor)
    head = int.from_bytes(Path(path).read_bytes()[:8], "little")
    assert (8 + head) % 4096 == 0


def test_views_and_tensors_with_history_are_written_as_what_they_show(path: str) -> None:
    base = torch.arange(12.0, requires_grad=True).reshape(3, 4)
    put({"x": base.t()}, path, {})
    found = read_back(path, ["x"], verify=True)
    assert found is not None and torch.equal(found[0]["x"], base.t())


def test_reads_only_the_wanted_tensors(path: str) -> None:
    put(synthesize(specs(), seed=1), path, {})
    found = read_back(path, ["loss_mask"], verify=True)
    assert found is not None and list(found[0]) == ["loss_mask"] and len(found[1].digests) == 5


def test_absence_is_none(path: str) -> None:
    assert read_back(path, None, verify=True) is None


def test_never_overwrites(path: str) -> None:
    Path(path).write_bytes(b"mine")
    with pytest.raises(BridgeError) as caught:
        put(synthesize(specs(), seed=1), path, {})
    assert caught.value.code == "STORE_UNAVAILABLE" and Path(path).read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "STORE_FULL"), (errno.EDQUOT, "STORE_FULL"), (errno.EIO, "STORE_UNAVAILABLE")]
)
def test_a_write_that_fails_leaves_no_file(path: str, monkeypatch: pytest.MonkeyPatch, number: int, code: str) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(BridgeError) as caught:
        put(synthesize(specs(), seed=1), path, {}, fsync=True)
    assert caught.value.code == code and not os.path.exists(path)


def test_short_writes_are_continued(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: whole(fd, data[:7], offset))
    tensors = synthesize(specs(), seed=3)
    put(tensors, path, {})
    monkeypatch.undo()
    found = read_back(path, None, verify=True)
    assert found is not None and all(torch.equal(found[0][name], tensors[name]) for name in tensors)


def test_a_dtype_the_format_cannot_name_is_refused(path: str) -> None:
    with pytest.raises(BridgeError) as caught:
        put({"x": torch.zeros(2, dtype=torch.complex64)}, path, {})
    assert caught.value.code == "FEATURE_INVALID" and not os.path.exists(path)


def test_every_flipped_byte_of_the_data_is_noticed(path: str) -> None:
    put(synthesize(specs(), seed=1), path, {})
    whole = Path(path).read_bytes()
    for at in range(4096, len(whole)):
        Path(path).write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(BridgeError) as caught:
            read_back(path, None, verify=True)
        assert caught.value.code == "SAMPLE_CORRUPT"


def test_a_tensor_without_a_digest_does_not_pass_for_verified(path: str) -> None:
    raw_file(path, json.dumps({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode(), b"a")
    assert read_back(path, None, verify=False) is not None
    with pytest.raises(BridgeError):
        read_back(path, None, verify=True)


def test_a_length_beyond_the_file_or_the_bound_is_refused_without_reading_it(path: str) -> None:
    for length in (0, 1, 3, MAX_HEADER + 1, 100_000_000, 2**63, 2**64 - 1):
        raw_file(path, b"{}", length=length)
        expect_corrupt(path, "header length")
    Path(path).write_bytes(b"\2\0\0")
    expect_corrupt(path, "header length")


def test_a_huge_sparse_header_costs_no_memory(path: str) -> None:
    raw_file(path, b"{", length=1 << 40)
    os.truncate(path, (1 << 40) + 8)
    assert resident_growth(lambda: expect_corrupt(path, "header length")) < 1 << 20


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"[]", "starts with"),
        (b" {}", "starts with"),
        (b'{"a"', "not JSON"),
        (b"{}x", "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"\xff":1}', "not JSON"),
        (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
        (b'{"__metadata__":{"a":1}}', "__metadata__"),
        (b'{"__metadata__":[]}', "__metadata__"),
        (b'{"__metadata__":{"digest.y":"xxh3_64:0000000000000000"}}', "digest.y"),
        (b'{"__metadata__":{},"__metadata__":{}}', "twice"),
        (b'{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}', "twice"),
        (b'{"a":1}', "not exactly"),
        (b'{"a":{"dtype":"U8","shape":[0]}}', "not exactly"),
        (b'{"../a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', "tensor name"),
        (b'{"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', "tensor name"),
    ],
)
def test_a_header_that_is_no_header_is_refused(path: str, text: bytes, word: str) -> None:
    raw_file(path, text)
    expect_corrupt(path, word)


def good() -> Head:
    return {
        "a": {"dtype": "I32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "U8", "shape": [4], "data_offsets": [8, 12]},
    }


def change(name: str, **values: object) -> Callable[[Head], None]:
    return lambda head: head[name].update(values)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (change("a", dtype="I31"), "a.dtype"),
        (change("a", dtype=["I32"]), "a.dtype"),
        (change("a", dtype=None), "a.dtype"),
        (change("a", shape=2), "a.shape"),
        (change("a", shape=[-2]), "a.shape"),
        (change("a", shape=[2.0]), "a.shape"),
        (change("a", shape=[True, 2]), "a.shape"),
        (change("a", shape=[1] * 9), "a.shape"),
        (change("a", shape=[2**62, 2**62]), "a.shape"),
        (change("a", shape=[2**31, 2**31]), "a.shape"),
        (change("a", shape=[2**52, 0, 2**52]), "a.shape"),
        (change("a", shape=[3]), "shape and dtype say 12"),
        (change("a", data_offsets=[8, 0]), "a.data_offsets"),
        (change("a", data_offsets=[-8, 0]), "a.data_offsets"),
        (change("a", data_offsets=[0, 8, 8]), "a.data_offsets"),
        (change("a", data_offsets=["0", "8"]), "a.data_offsets"),
        (change("a", data_offsets=[2**60, 2**60 + 8]), "a.data_offsets"),
        (change("b", data_offsets=[4, 8]), "overlaps"),
        (change("b", data_offsets=[0, 4]), "overlaps"),
        (change("b", data_offsets=[9, 13]), "hole"),
        (change("b", data_offsets=[1_000_000, 1_000_004]), "hole"),
        (lambda head: head.pop("b"), "12 bytes where the header says 8"),
        (lambda head: head.update(c={"dtype": "U8", "shape": [9], "data_offsets": [12, 21]}), "says 21"),
    ],
)
def test_tensors_that_do_not_fit_the_data_are_refused(path: str, spoil: Callable[[Head], None], word: str) -> None:
    head = good()
    raw_file(path, json.dumps(head).encode(), bytes(12))
    assert read_back(path, None, verify=False) is not None
    spoil(head)
    raw_file(path, json.dumps(head).encode(), bytes(12))
    expect_corrupt(path, word)


def test_a_bool_that_is_neither_0_nor_1_is_refused(path: str) -> None:
    raw_file(path, json.dumps({"x": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}).encode(), b"\1\2")
    expect_corrupt(path, "neither 0 nor 1")


def test_a_pickle_is_never_opened(path: str, tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(marker),)

    torch.save({"x": Payload()}, path)
    expect_corrupt(path)
    assert not marker.exists()


def test_a_clone_shares_no_memory_and_synthesis_repeats() -> None:
    first, second = synthesize(specs(), seed=5), synthesize(specs(), seed=5)
    copies = clone(first, None)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]) and torch.equal(tensor, copies[name])
        assert tensor.numel() == 0 or tensor.data_ptr() != copies[name].data_ptr()
    assert set(first["loss_mask"].tolist()) <= {0, 1}
    with pytest.raises(BridgeError) as caught:
        clone(first, ["nothing"])
    assert caught.value.code == "SPEC_MISMATCH"


def test_every_dtype_of_the_contract_has_a_code() -> None:
    named = {str(dtype).removeprefix("torch.") for dtype in CODES}
    expected = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool"
    assert named == set(expected.split())
