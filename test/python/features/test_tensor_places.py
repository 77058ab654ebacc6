"""States stay in their file only if the file stores exactly their bytes. Otherwise they are copied, with a reason."""

from __future__ import annotations

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.features import ingest, tensor_places
from draftbridge.features.ingest import InPlace, load_features, load_in_place
from draftbridge.features.layouts import Form
from draftbridge.objects.write.object_writer import bytes_of
from safetensors.torch import save_file

ROWS, HIDDEN = 7, 4
LAYERS = Form({"hidden_state": 1, "aux_hidden_state": 3})
STATES = tuple(LAYERS.layers)


def features() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "input_ids": torch.arange(ROWS),
        "loss_mask": torch.ones(ROWS, dtype=torch.int64),
        "hidden_state": torch.randn(1, ROWS, HIDDEN, generator=generator).bfloat16(),
        "aux_hidden_state": torch.randn(1, ROWS, 3 * HIDDEN, generator=generator).bfloat16(),
    }


def torch_file(path: Path, content: Any) -> str:
    torch.save(content, path.with_suffix(".ckpt"))
    return str(path.with_suffix(".ckpt"))


def safetensors_file(path: Path, content: Any) -> str:
    save_file(content, path.with_suffix(".safetensors"))
    return str(path.with_suffix(".safetensors"))


def repacked(file: str, packed: Callable[[str], bool]) -> str:
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(f"{file}.new", "w") as target:
        for info in source.infolist():
            kind = zipfile.ZIP_DEFLATED if packed(info.filename) else zipfile.ZIP_STORED
            target.writestr(info.filename, source.read(info), compress_type=kind)
    os.replace(f"{file}.new", file)
    return file


def expect_same(found: InPlace, file: str, rows: int) -> None:
    given = load_features(file, rows, LAYERS)[0]
    for name, tensor in given.items():
        assert torch.equal(found.sample[name], tensor)


@pytest.mark.parametrize("rows", [ROWS, 5])
@pytest.mark.parametrize("save", [torch_file, safetensors_file])
def test_the_bytes_at_the_offsets_are_the_states(tmp_path: Path, save: Callable[[Path, Any], str], rows: int) -> None:
    file = save(tmp_path / "a", features())
    found = load_in_place(file, rows, LAYERS)
    assert found.copied is None
    assert found.truncated == (rows < ROWS)
    assert set(found.offsets) == set(STATES)
    expect_same(found, file, rows)
    for name, offset in found.offsets.items():
        tensor = load_features(file, rows, LAYERS)[0][name]
        there = Path(file).read_bytes()[offset : offset + tensor.numel() * tensor.element_size()]
        assert there == tensor.view(torch.uint8).numpy().tobytes()
    assert (found.stamp.size, found.stamp.mtime_ns) == (
        os.stat(file).st_size,
        os.stat(file).st_mtime_ns,
    )


@pytest.mark.parametrize("save", [torch_file, safetensors_file])
@pytest.mark.parametrize("mapped", [True, False])
def test_mapped_states_are_found_without_reading_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[[Path, Any], str], mapped: bool
) -> None:
    monkeypatch.setattr(tensor_places, "_MIN_BYTES_FOR_MAPS", 0)
    read: list[int] = []
    whole = tensor_places._matching
    monkeypatch.setattr(tensor_places, "_matching", lambda *given: [read.append(1), whole(*given)][1])
    if not mapped:
        monkeypatch.setattr(tensor_places, "mapped_places", lambda *_: None)
    file = save(tmp_path / "a", features())
    found = load_in_place(file, 0, LAYERS)
    assert len(read) == (0 if mapped else 2)
    expect_same(found, file, 0)
    for name, offset in found.offsets.items():
        size = found.sample[name].numel() * found.sample[name].element_size()
        assert Path(file).read_bytes()[offset : offset + size] == bytes_of(found.sample[name])


@pytest.mark.parametrize("asking_from", [0, 1 << 40])
def test_states_of_a_machine_of_the_other_byte_order_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asking_from: int
) -> None:
    monkeypatch.setattr(tensor_places, "_MIN_BYTES_FOR_MAPS", asking_from)
    content = features()
    file = torch_file(tmp_path / "a", content)
    widths = {bytes(bytes_of(tensor)): tensor.element_size() for tensor in content.values()}
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(f"{file}.big", "w") as target:
        for info in source.infolist():
            data = b"big" if info.filename.endswith("byteorder") else source.read(info)
            width = widths.get(data, 1)
            swapped = b"".join(data[at : at + width][::-1] for at in range(0, len(data), width))
            target.writestr(info.filename, swapped if width > 1 else data)
    os.replace(f"{file}.big", file)
    found = load_in_place(file, 0, LAYERS)
    for name in STATES:
        assert torch.equal(found.sample[name].flatten(), content[name].flatten())
    assert (found.copied, found.offsets) == ("tensor not stored as it is", {})


def views(content: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    both = torch.cat([content[name] for name in STATES], -1)
    return {
        **content,
        "hidden_state": both[..., :HIDDEN],
        "aux_hidden_state": both[..., HIDDEN:],
    }


def one_storage(content: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    flat = torch.cat([content[name].flatten() for name in STATES])
    cut = ROWS * HIDDEN
    shapes = {
        "hidden_state": flat[:cut].view(1, ROWS, HIDDEN),
        "aux_hidden_state": flat[cut:].view(1, ROWS, -1),
    }
    return {**content, **shapes}


def roomy(content: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        **content,
        "hidden_state": torch.cat([content["hidden_state"]] * 2, 1)[:, :ROWS],
    }


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (views, "tensor not contiguous"),
        (one_storage, "tensors share a storage"),
        (roomy, "tensor is part of a larger storage"),
    ],
)
def test_states_that_the_file_does_not_store_unchanged_are_copied(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], Any], why: str
) -> None:
    file = torch_file(tmp_path / "a", change(features()))
    found = load_in_place(file, 0, LAYERS)
    assert (found.copied, found.offsets) == (why, {})
    expect_same(found, file, 0)


def test_packed_members_are_unpacked_and_copied(tmp_path: Path) -> None:
    content = features()
    file = repacked(torch_file(tmp_path / "a", content), lambda name: "/data/" in name)
    found = load_in_place(file, 0, LAYERS)
    assert found.copied == "tensor not stored as it is"
    for name, tensor in content.items():
        assert torch.equal(found.sample[name].flatten(), tensor.flatten())


def test_an_archive_that_expands_too_far_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("draftbridge.features.feature_file._ALWAYS_ALLOWED", 0)
    file = torch_file(tmp_path / "a", {**features(), "hidden_state": torch.zeros(1, ROWS, 1 << 18)})
    with pytest.raises(BridgeError, match="expands to too many bytes"):
        load_features(repacked(file, lambda name: "/data/" in name), 0, LAYERS)


def test_a_gzip_file_is_copied(tmp_path: Path) -> None:
    plain = torch_file(tmp_path / "a", features())
    Path(f"{plain}.gz").write_bytes(gzip.compress(Path(plain).read_bytes()))
    assert load_in_place(f"{plain}.gz", 0, LAYERS).copied == "compressed file"


def test_equal_states_may_have_any_of_the_equal_offsets(tmp_path: Path) -> None:
    content = {**features(), "extra": features()["hidden_state"].clone()}
    file = torch_file(tmp_path / "a", content)
    stored = Path(file).read_bytes()
    assert stored.count(bytes_of(content["extra"])) == 2
    found = load_in_place(file, 0, LAYERS)
    offset = found.offsets["hidden_state"]
    size = ROWS * HIDDEN * 2
    assert stored[offset : offset + size] == bytes_of(content["hidden_state"])


def test_a_file_that_changes_while_it_is_read_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = torch_file(tmp_path / "a", features())

    def touched(*_: Any) -> None:
        os.utime(file, ns=(1, 1))

    monkeypatch.setattr(ingest, "_check_ids", touched)
    with pytest.raises(BridgeError, match="changed while it was read") as caught:
        load_in_place(file, 0, LAYERS)
    assert caught.value.details["file"] == file
