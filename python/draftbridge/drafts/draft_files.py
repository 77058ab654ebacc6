"""A draft on disk: `model.safetensors` + `config.json`, in checkpoints and exported folders alike."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.drafts.architecture import DraftArchitecture, LoadedDraft
from draftbridge.drafts.draft_description import DraftDescription
from draftbridge.files.plain import open_plain, path_of, read_text
from draftbridge.objects.safetensors_header import encode, layout
from draftbridge.objects.write.object_writer import bytes_of

MODEL, CONFIG = "model.safetensors", "config.json"
_KEPT = "what was saved before is whole"


def checkpoint_invalid(what: str, file: Path, field: str | None = None, found: str | None = None) -> BridgeError:
    """CHECKPOINT_INVALID for a file of a draft directory."""
    fix = "choose another checkpoint, or train or export the draft again"
    return BridgeError("CHECKPOINT_INVALID", what, file=str(file), field=field, found=found, fix=fix)


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file and its metadata. CHECKPOINT_INVALID if it is missing or damaged."""
    try:
        with path_of(file, follow=True) as path, safe_open(path, framework="pt") as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}, dict(handle.metadata() or {})  # noqa: SIM118
    except FileNotFoundError as exc:
        raise checkpoint_invalid("A checkpoint file is missing.", file, found="no file") from exc
    except (SafetensorError, OSError) as exc:
        raise checkpoint_invalid("A checkpoint file cannot be read.", file, found=str(exc)) from exc


def write_durably(file: Path, pieces: Iterable[bytes | memoryview]) -> int:
    """Write the pieces one after another and fsync. Returns their bytes. The caller owns the directory and makes it
    visible. STORE_FULL or STORE_UNAVAILABLE when the file system refuses."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(open_plain(file, flags), "wb", buffering=0) as out:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[out.write(rest) :]
            os.fsync(out.fileno())
            return out.tell()
    except OSError as exc:
        raise _unwritable(file, exc) from exc


def _unwritable(file: Path, exc: OSError) -> BridgeError:
    found = f"{errno.errorcode.get(exc.errno or 0, 'error')}: {exc.strerror}"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = f"free space or lower train.save.keep, then start again: {_KEPT}"
        return BridgeError(
            "STORE_FULL", "There is no room left for a checkpoint.", file=str(file), found=found, fix=fix
        )
    fix = f"check that run.dir is mounted and writable, then start again: {_KEPT}"
    return BridgeError("STORE_UNAVAILABLE", "A checkpoint cannot be written.", file=str(file), found=found, fix=fix)


def write_tensors(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> int:
    """Write a safetensors file durably, without a second copy in memory. Returns its bytes."""
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    entries = layout(plain)
    head = encode(entries, {"format": "pt", **(metadata or {})})
    return write_durably(file, (head, *(bytes_of(plain[entry.name]) for entry in entries)))


def read_config(directory: Path, architecture: DraftArchitecture) -> tuple[Any, dict[str, Any]]:
    """The parsed and the raw `config.json` of a draft directory."""
    file = directory / CONFIG
    try:
        raw = json.loads(read_text(file, follow=True))
    except FileNotFoundError as exc:
        raise checkpoint_invalid("A draft directory has no configuration.", file, found="no file") from exc
    except (ValueError, OSError) as exc:
        raise checkpoint_invalid("The draft configuration is not JSON.", file, found=str(exc)) from exc
    if not isinstance(raw, dict):
        raise checkpoint_invalid("The draft configuration is not a JSON object.", file, found=type(raw).__name__)
    try:
        return architecture.read_config(raw, str(file)), raw
    except BridgeError as exc:
        raise checkpoint_invalid(str(exc), file, field=exc.details.get("field")) from exc


def check_tensors(
    file: Path,
    found: dict[str, Tensor],
    expected: dict[str, tuple[int, ...]],
    ignored: Collection[str] = (),
) -> None:
    """Every expected name with its shape, and at most `ignored` names besides. CHECKPOINT_INVALID at a fault."""
    for name, shape in expected.items():
        if name not in found:
            raise checkpoint_invalid("A draft tensor is missing.", file, name, f"only {', '.join(sorted(found))}")
        if tuple(found[name].shape) != shape:
            text = f"shape {list(found[name].shape)}, the configuration says {list(shape)}"
            raise checkpoint_invalid("A draft tensor has another shape.", file, name, text)
    for name in sorted(found.keys() - expected.keys() - set(ignored)):
        raise checkpoint_invalid("A draft file holds an unknown tensor.", file, name, "a name that no draft has")


def load_draft(directory: str | Path, dtype: torch.dtype, architecture: DraftArchitecture) -> LoadedDraft:
    """Read a draft of this architecture, its weights in `dtype`.

    Works for checkpoints, exports and the reference's files. CHECKPOINT_INVALID names the file and the tensor.
    """
    directory = Path(directory)
    config, _ = read_config(directory, architecture)
    file = directory / MODEL
    tensors, _ = read_tensors(file)
    with torch.device("meta"):
        module = architecture.module(config)
    constants = architecture.constants(config)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
    shapes |= {name: spec.shape for name, spec in constants.items()}
    check_tensors(file, tensors, shapes, architecture.ignored_tensors)
    for name, spec in constants.items():
        if tensors[name].dtype != spec.dtype:
            raise checkpoint_invalid("A draft tensor has another dtype.", file, name, str(tensors[name].dtype))
    weights = {name: tensors[name].to(dtype) for name, _ in module.named_parameters()}
    module.load_state_dict(weights, assign=True)
    return LoadedDraft(directory, config, module.eval(), {name: tensors[name] for name in constants})


def save_draft(directory: Path, description: DraftDescription, weights: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Write model and configuration durably into an existing directory. Returns their names and bytes."""
    dtype = next(iter(weights.values())).dtype
    model = write_tensors(directory / MODEL, {**weights, **description.constants})
    text = json.dumps(description.config_json(dtype), indent=2) + "\n"
    return [
        {"name": MODEL, "bytes": model},
        {"name": CONFIG, "bytes": write_durably(directory / CONFIG, (text.encode(),))},
    ]
