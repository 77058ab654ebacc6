"""Tells the layout of feature files without reading their tensors."""

from __future__ import annotations

from typing import Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.registry import Payload, op
from draftbridge.features.feature_file import opened
from draftbridge.features.layouts import layout_of
from draftbridge.features.safetensors_file import DamagedFile, names_in


def judge(file: str) -> tuple[str, str]:
    """What `file` is, and more about it.

    A layout, and `masked` if the file holds its mask as such; `compressed`, which is not looked into; `unknown` with
    the names that the file holds; or `unreadable` with the reason.
    """
    if file.endswith(".gz"):
        return "compressed", ""
    try:
        content = _content(file)
    except BridgeError as exc:
        return "unreadable", str(exc).splitlines()[0]
    except (DamagedFile, OSError) as exc:
        return "unreadable", str(exc)
    found = layout_of(content)
    if found is not None:
        return found, "masked" if "loss_mask" in content else ""
    names = ", ".join(sorted(str(name) for name in content)) if isinstance(content, dict) else type(content).__name__
    return "unknown", names


def _content(file: str) -> Any:
    if file.endswith(".safetensors"):
        return dict.fromkeys(names_in(file))
    with opened(file, mapped=True) as content:
        return content


@op("features.judge", "bulk")
def _judge(payload: Payload) -> Payload:
    found = [judge(str(path)) for path in payload["paths"]]
    return {"files": [{"kind": kind, "about": about[:200]} for kind, about in found]}
