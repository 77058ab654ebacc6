"""Objects under a key: what is authentic, what is hidden, and what a party without the key can do (nothing)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from draftbridge.keys.store_key import Mode
from draftbridge.objects.write import object_draft
from draftbridge.objects.write.object_writer import bytes_of
from object_case import MODES, equal, flip, get, key, put, refusal, rekeyed, tensors
from safetensors import safe_open

both = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(object_draft, "CHUNK", 4096)
    return str(tmp_path / "sample.safetensors")


def head_of(path: str) -> tuple[dict[str, Any], bytes]:
    raw = Path(path).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def rewrite(path: str, change: dict[str, str | None]) -> None:
    """The object with these texts of its metadata replaced or taken out, the data left where it is."""
    head, data = head_of(path)
    head["__metadata__"].update(change)
    head["__metadata__"] = {name: text for name, text in head["__metadata__"].items() if text is not None}
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 4096)
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + data)


@both
def test_comes_back_whole_in_part_and_with_the_caller_s_metadata_only(path: str, mode: Mode) -> None:
    _, digests = put(tensors(), path, {"sample_id": "a:1"}, key=key(mode))
    found, header = get(path, key(mode))
    assert equal(found, tensors())
    assert header.metadata == {"sample_id": "a:1"}
    assert header.digests == digests
    part, _ = get(path, key(mode), ["hidden_state"], rows=(40, 60))
    assert equal(part, {"hidden_state": tensors()["hidden_state"][40:60]})


@both
def test_any_bit_flipped_anywhere_is_noticed(path: str, mode: Mode) -> None:
    put(tensors(), path, {}, key=key(mode))
    whole = Path(path).read_bytes()
    used = len(whole[:4096].rstrip())
    assert int.from_bytes(whole[:8], "little") == 4088
    for at in [*range(0, used, 7), used + 1, 4095, *range(4096, len(whole), 211), len(whole) - 1]:
        flip(path, at)
        with pytest.raises(Exception) as caught:
            get(path, key(mode))
        assert getattr(caught.value, "code", None) in ("SAMPLE_CORRUPT", "STORE_AUTH"), at
        Path(path).write_bytes(whole)


@both
def test_who_has_no_key_cannot_make_an_object_that_passes(path: str, mode: Mode) -> None:
    put(tensors(), path, {})
    assert "no mac" in str(refusal(lambda: get(path, key(mode)), "SAMPLE_CORRUPT"))
    for other in (key(mode, store_id="store-b"), key(mode, salt=1), key(mode, secret=os.urandom(32))):
        os.unlink(path)
        put(tensors(), path, {}, key=other)
        assert other.id in str(refusal(lambda: get(path, key(mode)), "STORE_AUTH"))
        rewrite(path, {"key_id": key(mode).id})
        refusal(lambda: get(path, key(mode)), "SAMPLE_CORRUPT")


@both
def test_an_object_cannot_be_renamed_taken_apart_or_downgraded(path: str, mode: Mode) -> None:
    put(tensors(), path, {"sample_id": "a:1", "generation": "5"}, key=key(mode))
    whole = Path(path).read_bytes()
    plain = {name: None for name in ("auth", "key_id", "mac", "object_salt")}
    other = "seal" if mode == "mac" else "mac"
    for change in ({"sample_id": "a:2"}, {"generation": "6"}, {"mac": None}, {"auth": other}, {"chunk_bytes": "8192"}):
        rewrite(path, change)
        refusal(lambda: get(path, key(mode)), "SAMPLE_CORRUPT")
        Path(path).write_bytes(whole)
    rewrite(path, plain)
    refusal(lambda: get(path, key(mode)), "SAMPLE_CORRUPT")


def test_chunks_cannot_be_swapped_within_a_tensor_or_between_objects(path: str) -> None:
    for at, name in enumerate(("one", "two")):
        put({"x": tensors()["hidden_state"] + at}, path + name, {}, key=key())
    one, two = (bytearray(Path(path + name).read_bytes()) for name in ("one", "two"))
    mixed = one[:4096] + one[8192:12288] + one[4096:8192] + one[12288:]
    for forged in (mixed, one[:4096] + two[4096:], one[:4096] + two[4096:8192] + one[8192:]):
        Path(path).write_bytes(forged)
        refusal(lambda: get(path, key()), "SAMPLE_CORRUPT")


@both
def test_no_key_reads_nothing(path: str, mode: Mode) -> None:
    put(tensors(), path, {}, key=key(mode))
    assert "none" in str(refusal(lambda: get(path), "STORE_AUTH"))


def test_a_sealed_object_shows_shapes_only_and_a_mac_hides_nothing(path: str) -> None:
    bits = {name: bytes(bytes_of(tensor)) for name, tensor in tensors().items()}
    put(tensors(), path, {}, key=key("mac"))
    assert bits["hidden_state"] in Path(path).read_bytes()
    with safe_open(path, "pt") as handle:
        assert equal({name: handle.get_tensor(name) for name in tensors()}, tensors())
    _, plain = put(tensors(), path + "2", {})
    _, sealed = put(tensors(), path + "3", {}, key=key("seal"))
    _, again = put(tensors(), path + "4", {}, key=key("seal"))
    third, fourth = Path(path + "3").read_bytes(), Path(path + "4").read_bytes()
    for name in ("hidden_state", "input_ids"):
        assert bits[name][:16] not in third
        assert len({plain[name], sealed[name], again[name]}) == 3
        assert plain[name].removeprefix("xxh3_64:").encode() not in third
    head = len(third) - len(b"".join(bits.values()))
    assert third[head:] != fourth[head:]


def test_a_sealed_object_is_verified_even_when_nobody_asks(path: str) -> None:
    put(tensors(), path, {}, key=key("seal"))
    flip(path, os.path.getsize(path) - 9)
    refusal(lambda: get(path, key("seal"), verify=False), "SAMPLE_CORRUPT")


@both
def test_a_new_key_keeps_metadata_and_digests_and_the_old_one_opens_it_no_more(path: str, mode: Mode) -> None:
    old, new = key(mode), key(mode, secret=bytes(range(1, 33)), salt=1)
    _, digests = put(tensors(), path, {"sample_id": "a:1"}, key=old)
    staged = path + ".new"
    assert rekeyed(path, staged, old, new)
    found, header = get(staged, new)
    assert equal(found, tensors())
    assert (header.metadata, header.digests) == ({"sample_id": "a:1"}, digests)
    refusal(lambda: get(staged, old), "STORE_AUTH")
    assert not rekeyed(staged, path + ".third", old, new)
    assert not os.path.exists(path + ".third")


@both
def test_what_the_old_key_does_not_confirm_gets_no_new_one(path: str, mode: Mode) -> None:
    old, new = key(mode), key(mode, secret=bytes(range(1, 33)), salt=1)
    put(tensors(), path, {}, key=old)
    flip(path, os.path.getsize(path) - 1000)
    refusal(lambda: rekeyed(path, path + ".new", old, new), "SAMPLE_CORRUPT")
    refusal(lambda: rekeyed(path, path + ".new", key(mode, salt=2), new), "STORE_AUTH")
    assert not os.path.exists(path + ".new")
