"""Safetensors files are read as the library reads them, and damaged ones are refused before memory is allocated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from draftbridge.features.safetensors_file import DamagedFile, read_safetensors
from safetensors.torch import load_file, save_file


def written(file: Path, header: Any, data: bytes = bytes(16)) -> str:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return str(file)


def test_every_tensor_is_what_the_library_reads(tmp_path: Path) -> None:
    file = str(tmp_path / "a.safetensors")
    generator = torch.Generator().manual_seed(1)
    given = {
        "states": torch.randn(7, 5, generator=generator).bfloat16(),
        "half": torch.randn(3, generator=generator).half(),
        "ids": torch.arange(9),
        "mask": torch.tensor([True, False]),
        "none": torch.zeros(0, 4),
        "one": torch.tensor(2.5, dtype=torch.float64),
    }
    save_file(given, file, metadata={"made": "here"})
    found, wanted = read_safetensors(file), load_file(file)
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"{", "not JSON"),
        ([], "not a JSON object"),
        ({"a": 1}, "no description"),
        ({"a": {**ENTRY, "dtype": "F3"}}, "dtype F3"),
        ({"a": {**ENTRY, "shape": [-4]}}, "not lists of counts"),
        ({"a": {**ENTRY, "data_offsets": [0]}}, "not lists of counts"),
        ({"a": {**ENTRY, "shape": [5]}}, "data_offsets"),
        ({"a": {**ENTRY, "shape": [2**40], "data_offsets": [0, 2**42]}}, "data_offsets"),
        ({"a": {**ENTRY, "data_offsets": [16, 32]}}, "data_offsets"),
        ({"a": {**ENTRY, "shape": [0, 2**52, 2**52], "data_offsets": [0, 0]}}, "data_offsets"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, header: Any, words: str) -> None:
    with pytest.raises(DamagedFile, match=words):
        read_safetensors(written(tmp_path / "a.safetensors", header))


def test_a_header_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(DamagedFile, match="header of 1099511627776 bytes"):
        read_safetensors(str(file))


def test_the_good_entry_of_these_tests_is_read(tmp_path: Path) -> None:
    assert read_safetensors(written(tmp_path / "a.safetensors", {"a": ENTRY}))["a"].tolist() == [0.0] * 4
