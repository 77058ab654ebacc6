"""GGUF files are read once where transformers reads them for configuration, tokenizer and weights each anew.

Each reading takes seconds, because the `gguf` package looks at every token of the vocabulary in Python.
"""

from __future__ import annotations

import functools
import importlib
import os
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

_STRING, _LIST = 8, 9
"""Types of values in a GGUF file (its specification, gguf_metadata_value_type)."""
_LOCK = threading.RLock()
_ORIGINAL: dict[str, Any] = {}
_open = 0


class GgufReads:
    """While at least one of these is open, the same file is read once, by all threads of the process together."""

    def __init__(self) -> None:
        global _open
        with _LOCK:
            _open += 1
            if _open == 1:
                _install()

    def close(self) -> None:
        global _open
        with _LOCK:
            _open -= 1
            if _open == 0:
                gguf: Any = importlib.import_module("gguf")
                gguf.GGUFReader, gguf.get_tensor_name_map = _ORIGINAL["reader"], _ORIGINAL["names"]

    def __enter__(self) -> GgufReads:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def plain_reader(base: Any) -> Any:
    """The reader of the `gguf` package, faster: with a plain array over the mapped file, because numpy makes a `memmap`
    of each slice of a `memmap`; and with the strings of a list as `bytes`, because it makes several arrays of each."""

    class PlainReader(base):  # type: ignore[misc]
        @property
        def data(self) -> Any:
            return self._mapped

        @data.setter
        def data(self, mapped: Any) -> None:
            self._mapped = mapped.view(np.ndarray)

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type == _LIST and self.byte_order == "I" and sys.byteorder == "little":
                kind, length = struct.unpack_from("<IQ", self._mapped, orig_offs)
                if kind == _STRING:
                    return _strings(self._mapped, orig_offs, length)
            return super()._get_field_parts(orig_offs, raw_type)

    return PlainReader


def _strings(mapped: Any, begin: int, length: int) -> tuple[int, list[Any], list[int], list[Any]]:
    """A list of strings at `begin` as the reader keeps it: its size, its parts, which of them are values, the types."""
    gguf: Any = importlib.import_module("gguf")
    content = memoryview(mapped)
    sizes = struct.Struct("<Q")
    parts: list[Any] = [mapped[begin : begin + 4].view(np.uint32), mapped[begin + 4 : begin + 12].view(np.uint64)]
    at = begin + 12
    for _ in range(length):
        (size,) = sizes.unpack_from(content, at)
        parts.append(bytes(content[at + 8 : at + 8 + size]))
        at += 8 + size
    kinds = [gguf.GGUFValueType(_LIST), *([gguf.GGUFValueType(_STRING)] if length else [])]
    return at - begin, parts, list(range(2, 2 + length)), kinds


def _install() -> None:
    gguf: Any = importlib.import_module("gguf")
    _ORIGINAL.update(reader=gguf.GGUFReader, names=gguf.get_tensor_name_map)
    reader = plain_reader(gguf.GGUFReader)

    @functools.lru_cache(maxsize=2)
    def read(path: str, _size: int, _changed_ns: int, _inode: int) -> Any:
        return reader(path)

    def reader_of(path: str | os.PathLike[str], _mode: str = "r") -> Any:
        about = Path(path).stat()
        with _LOCK:
            return read(os.fspath(path), about.st_size, about.st_mtime_ns, about.st_ino)

    gguf.GGUFReader = reader_of
    # transformers builds the map of all names again for each of a model's modules.
    gguf.get_tensor_name_map = functools.lru_cache(maxsize=16)(gguf.get_tensor_name_map)
