"""Opening feature files of other programs. They are attacked input: nothing in them is ever executed."""

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
# Real features shrink by about a fifth. The bound only stops a small file from filling the disk.
_MAX_EXPANSION = 64
_ALWAYS_ALLOWED = 1 << 28
_AGAIN = "make the file again, or take it out of features.files"


def invalid(file: str, what: str, *, field: str | None = None, found: str, fix: str = _AGAIN) -> BridgeError:
    return BridgeError("FEATURE_INVALID", what, file=file, field=field, found=found, fix=fix)


@contextmanager
def opened(file: str, *, mapped: bool) -> Iterator[Any]:
    """The content of a feature file, usually a dict of tensors by name.

    `mapped`: tensors may map the file, so copy what outlives the block. A file that is truncated meanwhile then ends
    the process (SIGBUS). Not mapped: the file is read into memory of this process.
    `.safetensors`, torch's zip form, or that in gzip. Raises FEATURE_INVALID for anything else.
    """
    if not Path(file).is_file():
        raise invalid(file, "the feature file cannot be read", found="no such file")
    if Path(file).stat().st_size == 0:
        raise invalid(file, "the feature file is empty", found="0 bytes")
    if file.endswith(".safetensors"):
        yield _map_safetensors(file) if mapped else _read_safetensors(file)
    elif file.endswith(".gz"):
        with _unzipped(file) as plain:
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
    """`path` holds the bytes; errors name `file`."""
    with open(path, "rb") as stream:
        head = stream.read(len(_ZIP))
    if head != _ZIP:
        kind = "a bare pickle" if head[:1] == b"\x80" else f"a file that begins with {head!r}"
        fix = "write it with torch.save of torch 1.6 or newer (a bare pickle could run code, so it is not read)"
        raise invalid(file, "this is no torch.save archive", found=kind, fix=fix)
    # Mapped, torch takes packed bytes for the tensor's own without an error.
    mapped = not _holds_packed(path, file) and mapped
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as exc:
        found = next((line for line in str(exc).splitlines() if "GLOBAL" in line or "Unsupported" in line), str(exc))
        fix = "do not trust this file: reading it in full would run the code in it. Save plain tensors only"
        raise invalid(
            file, "the file holds more than tensors and is refused", found=found.strip()[:300], fix=fix
        ) from exc
    except Exception as exc:
        raise invalid(file, "the feature file is damaged or cut off", found=_first_line(exc)) from exc


def _holds_packed(path: str, file: str) -> bool:
    """Whether members of the archive are compressed, which torch.save never does."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeError) as exc:
        raise invalid(file, "the feature file is damaged or cut off", found=_first_line(exc)) from exc
    expanded = sum(info.file_size for info in infos)
    if expanded > max(_ALWAYS_ALLOWED, _MAX_EXPANSION * Path(path).stat().st_size):
        raise invalid(file, "the file expands beyond all measure", found=f"{expanded} bytes")
    return any(info.compress_type != zipfile.ZIP_STORED for info in infos)


@contextmanager
def _unzipped(file: str) -> Iterator[str]:
    limit = max(_ALWAYS_ALLOWED, _MAX_EXPANSION * Path(file).stat().st_size)
    with tempfile.NamedTemporaryFile(prefix="draftbridge-", suffix=".ckpt") as plain:
        written = 0
        try:
            with gzip.open(file) as packed:
                while chunk := packed.read(_CHUNK):
                    written += plain.write(chunk)
                    if written > limit:
                        raise invalid(file, "the file expands beyond all measure", found=f"more than {limit} bytes")
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
            raise invalid(file, "the gzip file is damaged or cut off", found=_first_line(exc)) from exc
        plain.flush()
        yield plain.name


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {lines[0][:300] if lines else ''}"
