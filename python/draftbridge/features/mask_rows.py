"""Loss masks of samples whose feature files hold none, from the data set that their tokens came from.

A row of the data set has `input_ids` and `loss_mask`. A file `hs_N.safetensors` belongs to row N, as speculators
counts; any other file belongs to the row with the same tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import xxhash

from draftbridge.bridge.errors import BridgeError
from draftbridge.features.arrow_stream import ArrowColumns, NotArrow
from draftbridge.features.feature_file import invalid

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
COLUMNS = ("input_ids", "loss_mask")
_SEEN = 1 << 20
_FIX = "name the folder that speculators prepared, its .arrow files, or a .jsonl file of such rows, in features.masks"


class _Rows(Protocol):
    def __len__(self) -> int: ...

    def row(self, index: int) -> tuple[Numbers, Numbers]:
        """`input_ids` and `loss_mask`"""


class MaskRows:
    """The masks of a data set, by row or by the tokens of a row."""

    def __init__(self, rows: _Rows, digest: str) -> None:
        self._rows = rows
        self.digest = digest
        """Changes with the size, the beginning or the end of a file."""
        self._by_tokens: dict[bytes, list[int]] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def mask_for(self, ids: torch.Tensor, row: int | None, file: str) -> torch.Tensor:
        """int64 [n] for the sample with the tokens `ids`. FEATURE_INVALID if no row has these tokens."""
        tokens = ids.reshape(-1).to(torch.int64).numpy()
        if row is None:
            return torch.from_numpy(self._of_tokens(tokens, file).copy())
        if row >= len(self):
            found = f"row {row}; the data set has {len(self)} rows"
            raise invalid(file, "no row of the data set belongs to this file", field="loss_mask", found=found, fix=_FIX)
        stated, mask = self._rows.row(row)
        if not np.array_equal(stated, tokens):
            found = f"{len(tokens)} tokens; row {row} of the data set has {len(stated)} others"
            fix = "name the data set that these features were made from in features.masks"
            raise invalid(file, "the file has other tokens than its row", field="token_ids", found=found, fix=fix)
        return torch.from_numpy(mask.copy())

    def _of_tokens(self, tokens: Numbers, file: str) -> Numbers:
        if self._by_tokens is None:
            self._by_tokens = self._read_all()
        masks = [self._rows.row(row) for row in self._by_tokens.get(_digest(tokens), [])]
        found = [mask for ids, mask in masks if np.array_equal(ids, tokens)]
        if not found:
            what = "no row of the data set has the tokens of this file"
            raise invalid(file, what, field="loss_mask", found=f"{len(tokens)} tokens", fix=_FIX)
        if any(not np.array_equal(mask, found[0]) for mask in found):
            what = "rows of the data set with the tokens of this file have several masks"
            fix = "call the files hs_N.safetensors, with N the row of the data set"
            raise invalid(file, what, field="loss_mask", found=f"{len(found)} rows", fix=fix)
        return found[0]

    def _read_all(self) -> dict[bytes, list[int]]:
        rows: dict[bytes, list[int]] = {}
        for row in range(len(self)):
            rows.setdefault(_digest(self._rows.row(row)[0]), []).append(row)
        return rows


def _digest(tokens: Numbers) -> bytes:
    return xxhash.xxh3_128_digest(np.ascontiguousarray(tokens).data)


def open_masks(path: str) -> MaskRows:
    """The rows of a folder with `.arrow` files, of one such file, or of a `.jsonl` file. CONFIG_INVALID for others."""
    try:
        if path.endswith(".jsonl"):
            return MaskRows(_JsonRows(Path(path)), _digest_of([Path(path)]))
        files = _arrow_files(Path(path))
        return MaskRows(_ArrowRows([ArrowColumns(file, COLUMNS) for file in files]), _digest_of(files))
    except (NotArrow, OSError, ValueError) as exc:
        found = f"{type(exc).__name__}: {exc}" if isinstance(exc, OSError) else str(exc)
        raise _refused(path, found) from exc


def _digest_of(files: list[Path]) -> str:
    hasher = xxhash.xxh3_64()
    for file in files:
        size = file.stat().st_size
        hasher.update(f"{size},".encode())
        with file.open("rb") as stream:
            for at in (0, max(0, size - _SEEN)):
                stream.seek(at)
                hasher.update(stream.read(_SEEN))
    return hasher.hexdigest()


def _refused(path: str, found: str) -> BridgeError:
    what = "the data set with the masks cannot be read"
    return BridgeError("CONFIG_INVALID", what, file=path, field="features.masks", found=found[:300], fix=_FIX)


def has_masks(folder: str) -> bool:
    """Whether `folder` looks like a data set that was saved to disk."""
    return any(Path(folder).glob("*.arrow"))


def _arrow_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    state = path / "state.json"
    if state.exists():
        # The order of rows is that of this list.
        named = json.loads(state.read_text("utf-8")).get("_data_files", [])
        return [path / str(file["filename"]) for file in named]
    found = sorted(path.glob("*.arrow"))
    if not found:
        raise NotArrow("a folder without .arrow files")
    return found


class _ArrowRows:
    def __init__(self, files: list[ArrowColumns]) -> None:
        self._files = files
        self._starts = np.cumsum([0, *(len(file) for file in files)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def row(self, index: int) -> tuple[Numbers, Numbers]:
        at = int(np.searchsorted(self._starts, index, side="right")) - 1
        ids, mask = self._files[at].row(index - int(self._starts[at]))
        return ids, mask


class _JsonRows:
    """Keeps only where each line begins."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._starts = list(_line_starts(file))
        if not self._starts:
            raise NotArrow("an empty file")
        self.row(0)

    def __len__(self) -> int:
        return len(self._starts)

    def row(self, index: int) -> tuple[Numbers, Numbers]:
        with self._file.open("rb") as stream:
            stream.seek(self._starts[index])
            found = json.loads(stream.readline())
        if not isinstance(found, dict) or any(not isinstance(found.get(name), list) for name in COLUMNS):
            raise _refused(str(self._file), f"row {index} has no lists {' and '.join(COLUMNS)}")
        ids, mask = (np.asarray(found[name], dtype=np.int64) for name in COLUMNS)
        return ids, mask


def _line_starts(file: Path) -> Iterator[int]:
    with file.open("rb") as stream:
        at = 0
        for line in stream:
            if line.strip():
                yield at
            at += len(line)
