"""Opens feature files of other programs. They are untrusted input: code in them is never executed."""

from __future__ import annotations

import gzip
import pickle
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from draftbridge.bridge.errors import BridgeError
from draftbridge.features.safetensors_file import DamagedFile, read_safetensors

_ZIP = b"PK\x03\x04"
_CHUNK = 1 << 20
# gzip shrinks real features by about a fifth. The limit only stops a small file that would expand to fill the disk.
_MAX_EXPANSION = 64
_ALWAYS_ALLOWED = 1 << 28
_FIX = "make the file again, or remove it from features.files"


def invalid(file: str, what: str, *, field: str | None = None, found: str, fix: str = _FIX) -> BridgeError:
    return BridgeError("FEATURE_INVALID", what, file=file, field=field, found=found, fix=fix)


@contextmanager
def opened(file: str, *, mapped: bool) -> Iterator[Any]:
    """The content of a feature file, usually a dict of tensors by name.

    With `mapped`, tensors may map the file, so the caller must copy tensors that it uses after the block. If another
    program truncates the file during the block, the process dies of SIGBUS. Without `mapped`, the file is read into
    memory of this process.
    Accepts `.safetensors` files, torch.save archives (zip), and gzip files of such archives. Raises FEATURE_INVALID for
    all other files.
    """
    if not Path(file).is_file():
        raise invalid(file, "the feature file cannot be read", found="no such file")
    if Path(file).stat().st_size == 0:
        raise invalid(file, "the feature file is empty", found="0 bytes")
    if file.endswith(".safetensors"):
        yield _map_safetensors(file) if mapped else _read_safetensors(file)
    elif file.endswith(".gz"):
        with _gunzipped(file) as plain:
            yield _read_torch(plain, file, mapped=mapped)
    else:
        yield _read_torch(file, file, mapped=mapped)


def _read_safetensors(file: str) -> dict[str, torch.Tensor]:
    try:
        return read_safetensors(file)
    except (DamagedFile, OSError) as exc:
        raise invalid(file, "the feature file is damaged", found=str(exc)) from exc


def _map_safetensors(file: str) -> dict[str, torch.Tensor]:
    try:
        with safe_open(file, framework="pt") as content:
            return {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as exc:
        raise invalid(file, "the feature file is damaged", found=_first_line(exc)) from exc


def _read_torch(path: str, file: str, *, mapped: bool) -> Any:
    """Reads `path`, which is `file` or its unpacked copy. Errors name `file`."""
    with open(path, "rb") as stream:
        head = stream.read(len(_ZIP))
    if head != _ZIP:
        kind = "a bare pickle" if head[:1] == b"\x80" else f"a file that begins with {head!r}"
        fix = "write it with torch.save of torch 1.6 or newer (a bare pickle could run code, so it is not read)"
        raise invalid(file, "the file is not a torch.save archive", found=kind, fix=fix)
    # With mmap, torch would read compressed bytes as tensor data, without an error.
    mapped = not _has_compressed_members(path, file) and mapped
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as exc:
        found = next((line for line in str(exc).splitlines() if "GLOBAL" in line or "Unsupported" in line), str(exc))
        fix = "do not trust this file: loading all of it would run code. Save plain tensors only"
        raise invalid(file, "the file contains more than tensors", found=found.strip()[:300], fix=fix) from exc
    except Exception as exc:
        raise invalid(file, "the feature file is damaged or incomplete", found=_first_line(exc)) from exc


def _has_compressed_members(path: str, file: str) -> bool:
    """Whether members of the archive are compressed, which torch.save never does."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeError) as exc:
        raise invalid(file, "the feature file is damaged or incomplete", found=_first_line(exc)) from exc
    expanded = sum(info.file_size for info in infos)
    if expanded > max(_ALWAYS_ALLOWED, _MAX_EXPANSION * Path(path).stat().st_size):
        raise invalid(file, "the file expands to too many bytes", found=f"{expanded} bytes")
    return any(info.compress_type != zipfile.ZIP_STORED for info in infos)


@contextmanager
def _gunzipped(file: str) -> Iterator[str]:
    limit = max(_ALWAYS_ALLOWED, _MAX_EXPANSION * Path(file).stat().st_size)
    with tempfile.NamedTemporaryFile(prefix="draftbridge-", suffix=".ckpt") as plain:
        written = 0
        try:
            with gzip.open(file) as packed:
                while chunk := packed.read(_CHUNK):
                    written += plain.write(chunk)
                    if written > limit:
                        raise invalid(file, "the file expands to too many bytes", found=f"more than {limit} bytes")
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
            raise invalid(file, "the gzip file is damaged or incomplete", found=_first_line(exc)) from exc
        plain.flush()
        yield plain.name


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {lines[0][:300] if lines else ''}"
