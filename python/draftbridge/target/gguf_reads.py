"""GGUF files are read once where transformers reads them for configuration, tokenizer and weights each anew.

Each reading takes seconds, because the `gguf` package looks at every token of the vocabulary in Python.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

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
    """The reader of the `gguf` package with a plain array over the mapped file: numpy makes a `memmap` of each slice of
    a `memmap`, which takes half the time of the reading."""

    class PlainReader(base):  # type: ignore[misc]
        @property
        def data(self) -> Any:
            return self._mapped

        @data.setter
        def data(self, mapped: Any) -> None:
            self._mapped = mapped.view(np.ndarray)

    return PlainReader


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
