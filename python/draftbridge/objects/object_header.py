"""What an object says of itself in `__metadata__`: digests, checks, the mac, tensors that lie elsewhere. docs/format.md
describes it. Parsing trusts nothing: an attacker may have written the file."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from draftbridge.objects.object_errors import corrupt
from draftbridge.objects.safetensors_header import ALIGNMENT, CODES, Entry, counts, entry_at, json_object, parse

Auth = Literal["none", "mac", "seal"]
CHECK_WIDTH: dict[Auth, int] = {"none": 8, "mac": 16, "seal": 16}
SALT_BYTES = 16
DIGEST, CHUNKS = "digest.", "chunks."
_OWN = {"auth", "chunk_bytes", "extern", "key_id", "mac", "object_salt"}
_DIGEST = re.compile(r"xxh3_64:[0-9a-f]{16}")
_MAC = re.compile(r"hmac_sha256:[0-9a-f]{64}")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_SALT = re.compile(r"[0-9a-f]{32}")
_CHUNK_BYTES = re.compile(r"[1-9][0-9]{3,9}")
# A relative path may only name a file in the store's `extern` folder.
_KEPT_FILE = re.compile(r"extern/[0-9a-f]{2}/[A-Za-z0-9][A-Za-z0-9._:-]{0,254}\.bin")
_DIGITS = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Extern:
    """A file that holds some of the tensors; their entries count from its beginning."""

    file: str
    """Absolute, or below the store's root."""
    size: int
    mtime_ns: int
    entries: dict[str, Entry]

    def text(self) -> str:
        tensors = {
            name: {"offset": entry.start, "dtype": CODES[entry.dtype], "shape": list(entry.shape)}
            for name, entry in self.entries.items()
        }
        about = {"file": self.file, "size": self.size, "mtime_ns": self.mtime_ns, "tensors": tensors}
        return json.dumps(about, separators=(",", ":"))


@dataclass(frozen=True)
class Header:
    raw: bytes
    """All bytes before the data: what the mac is over."""
    entries: dict[str, Entry]
    extern: Extern | None
    metadata: dict[str, str]
    """What the caller of write gave, and nothing else."""
    digests: dict[str, str]
    """Of every tensor, as its writer stated them."""
    auth: Auth
    chunk_bytes: int
    """0 in a file without chunk checks."""
    checks: dict[str, bytes]
    salt: bytes
    key_id: str
    mac: str

    @property
    def tensors(self) -> dict[str, Entry]:
        return self.entries if self.extern is None else {**self.entries, **self.extern.entries}

    def index_of(self, name: str) -> int:
        """The tensor's number in nonces."""
        return sorted(self.tensors).index(name)


def header_of(file: str, raw: bytes, data_size: int) -> Header:
    """The header in `raw` (with its 8 length bytes) of an object with `data_size` bytes of data; SAMPLE_CORRUPT unless
    every field is well-formed. Does not check that it is authentic."""
    entries, texts = parse(file, raw[8:], data_size)
    extern = _extern(file, texts["extern"], entries) if "extern" in texts else None
    tensors = entries if extern is None else {**entries, **extern.entries}
    auth = _auth(file, texts)
    chunk_bytes = int(_matching(file, texts, "chunk_bytes", _CHUNK_BYTES)) if "chunk_bytes" in texts else 0
    if chunk_bytes % ALIGNMENT:
        raise corrupt(file, "__metadata__.chunk_bytes", f"{chunk_bytes}, which is no multiple of {ALIGNMENT}")
    keyed = auth != "none"
    return Header(
        raw=raw,
        entries=entries,
        extern=extern,
        metadata={key: text for key, text in texts.items() if key not in _OWN and not key.startswith((DIGEST, CHUNKS))},
        digests=_digests(file, texts, tensors),
        auth=auth,
        chunk_bytes=chunk_bytes,
        checks=_checks(file, texts, tensors, chunk_bytes, CHECK_WIDTH[auth]),
        salt=bytes.fromhex(_matching(file, texts, "object_salt", _SALT)) if keyed else b"",
        key_id=_matching(file, texts, "key_id", _KEY_ID) if keyed else "",
        mac=_matching(file, texts, "mac", _MAC) if keyed else "",
    )


def chunk_count(size: int, chunk_bytes: int) -> int:
    return -(-size // chunk_bytes)


def _auth(file: str, texts: Mapping[str, str]) -> Auth:
    auth = texts.get("auth", "none")
    for known in CHECK_WIDTH:
        if auth == known != "none":
            return known
    stray = sorted(_OWN & set(texts) - {"chunk_bytes", "extern"})
    if stray:
        raise corrupt(file, f"__metadata__.{stray[0]}", repr(texts[stray[0]][:80]))
    return "none"


def _matching(file: str, texts: Mapping[str, str], key: str, pattern: re.Pattern[str]) -> str:
    text = texts.get(key, "")
    if not pattern.fullmatch(text):
        raise corrupt(file, f"__metadata__.{key}", repr(text[:80]) if key in texts else "nothing")
    return text


def _digests(file: str, texts: Mapping[str, str], tensors: Mapping[str, Entry]) -> dict[str, str]:
    digests = {key[len(DIGEST) :]: text for key, text in texts.items() if key.startswith(DIGEST)}
    for name, text in digests.items():
        if name not in tensors or not _DIGEST.fullmatch(text):
            raise corrupt(file, f"__metadata__.{DIGEST}{name[:80]}", repr(text[:80]))
    return digests


def _checks(
    file: str, texts: Mapping[str, str], tensors: Mapping[str, Entry], chunk_bytes: int, width: int
) -> dict[str, bytes]:
    checks: dict[str, bytes] = {}
    for key, text in texts.items():
        if not key.startswith(CHUNKS):
            continue
        name = key[len(CHUNKS) :]
        entry = tensors.get(name)
        expected = chunk_count(entry.end - entry.start, chunk_bytes) * width if entry and chunk_bytes else -1
        if len(text) != 2 * expected or not re.fullmatch(r"[0-9a-f]*", text):
            raise corrupt(file, f"__metadata__.{CHUNKS}{name[:80]}", f"{len(text)} characters, or not hex digits")
        checks[name] = bytes.fromhex(text)
    if chunk_bytes and set(checks) != set(tensors):
        raise corrupt(file, "__metadata__.chunks", "not one list of checks for each tensor")
    return checks


def _extern(file: str, text: str, entries: Mapping[str, Entry]) -> Extern:
    field = "__metadata__.extern"
    about = json_object(file, field, text.encode("utf-8", "surrogatepass"))
    if set(about) != {"file", "size", "mtime_ns", "tensors"} or not isinstance(about["tensors"], dict):
        raise corrupt(file, field, "not exactly file, size, mtime_ns and tensors")
    there, size, mtime_ns = about["file"], about["size"], about["mtime_ns"]
    if not isinstance(there, str) or not is_extern_path(there):
        raise corrupt(file, f"{field}.file", repr(there)[:80])
    # Nanoseconds need more digits than a count in a header has.
    if not counts([size]) or type(mtime_ns) is not int or not _DIGITS.fullmatch(str(mtime_ns)):
        raise corrupt(file, field, f"size {repr(size)[:40]}, mtime_ns {repr(mtime_ns)[:40]}")
    found = {name: _extern_entry(file, f"{field}.{name[:80]}", name, value) for name, value in about["tensors"].items()}
    for name, entry in found.items():
        if name in entries or entry.end > size:
            raise corrupt(file, f"{field}.{name}", f"bytes up to {entry.end} of {size}, or a tensor of the object too")
    return Extern(there, size, mtime_ns, found)


def is_extern_path(file: str) -> bool:
    if not file.startswith("/"):
        return _KEPT_FILE.fullmatch(file) is not None
    return len(file) <= 4096 and "\0" not in file and os.path.normpath(file) == file


def _extern_entry(file: str, field: str, name: str, value: Any) -> Entry:
    if not isinstance(value, dict) or set(value) != {"offset", "dtype", "shape"} or not counts([value["offset"]]):
        raise corrupt(file, field, "not exactly offset, dtype and shape")
    return entry_at(file, name, value["dtype"], value["shape"], value["offset"])
