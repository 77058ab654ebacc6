"""docs/format.md: a reader that was written from it reads its dumps, and whatever the program writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cryptography.exceptions import InvalidTag
from draftbridge.objects.write import object_draft
from draftbridge.objects.write.object_writer import ExternSource, bytes_of
from format_reader import read
from object_case import flip, key, put, tensors

PAGE = Path(__file__).parents[3] / "docs" / "format.md"
SECRET = bytes(range(32))
EXPECTED = {
    "input_ids": torch.tensor([1, 2, 3]),
    "hidden_state": torch.tensor([[1, -2], [0.5, 0.25], [3, 0]], dtype=torch.bfloat16),
}


def undumped(text: str) -> bytes:
    """What `hexdump -C` was given; a `*` stands for more lines like the one before."""
    found = b""
    for line in text.strip().splitlines():
        if line == "*":
            continue
        at = int(line[:8], 16)
        found += found[-16:] * ((at - len(found)) // 16)
        found += bytes.fromhex(line[8:58])
    return found


def plain(tensors: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: bytes(bytes_of(tensor.contiguous())) for name, tensor in tensors.items()}


def store(mode: str) -> dict[str, Any]:
    if mode == "none":
        return {"storeId": "store-a", "auth": {"mode": "none"}}
    under = key(mode)  # type: ignore[arg-type]
    auth = {"mode": mode, "salt": "00" * 16, "check": under.check, "keyId": under.id}
    return {"storeId": "store-a", "auth": auth}


def test_the_dumps_on_the_page_are_the_sample_it_names(tmp_path: Path) -> None:
    text = PAGE.read_text()
    dumps = re.findall(r"```\n(00000000 .*?)```", text, re.DOTALL)
    stores = [json.loads(found) for found in re.findall(r'\{"formatVersion".*\}', text)]
    assert len(dumps) == len(stores) == 2
    for dump, about in zip(dumps, stores, strict=True):
        file = tmp_path / "object"
        file.write_bytes(undumped(dump))
        assert read(str(file), about, SECRET) == plain(EXPECTED)


@pytest.mark.parametrize("mode", ["none", "mac", "seal"])
def test_what_the_program_writes_is_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(object_draft, "CHUNK", 4096)
    path = str(tmp_path / "object")
    put(tensors(), path, {"store_id": "store-a"}, key=None if mode == "none" else key(mode))  # type: ignore[arg-type]
    assert read(path, store(mode), SECRET) == plain(tensors())
    flip(path, Path(path).stat().st_size - 5)
    with pytest.raises((ValueError, InvalidTag)):
        read(path, store(mode), SECRET)


@pytest.mark.parametrize("mode", ["none", "mac"])
def test_tensors_in_another_file_are_found_and_verified(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "features"
    file.write_bytes(b"?" * 64 + plain(tensors())["hidden_state"])
    info = file.stat()
    source = ExternSource(str(file), str(file), info.st_size, info.st_mtime_ns, {"hidden_state": 64})
    path = str(tmp_path / "object")
    under = None if mode == "none" else key("mac")
    put(tensors(), path, {"store_id": "store-a"}, key=under, extern=source)
    assert read(path, store(mode), SECRET) == plain(tensors())
    flip(str(file), 70)
    with pytest.raises((ValueError, InvalidTag)):
        read(path, store(mode), SECRET)


def test_the_reader_imports_nothing_of_ours() -> None:
    imports: Callable[[str], list[str]] = re.compile(r"^(?:from|import) (\w+)", re.MULTILINE).findall
    assert "draftbridge" not in imports((Path(__file__).parents[1] / "format_reader.py").read_text())
