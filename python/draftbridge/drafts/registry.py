"""The draft architectures there are: one line each. Nothing else in the program imports one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.drafts.architecture import DraftArchitecture
from draftbridge.drafts.eagle3.eagle3 import Eagle3

_architectures: dict[str, DraftArchitecture] = {}


def register(architecture: DraftArchitecture) -> None:
    """Make an architecture known to this process, under its name."""
    if architecture.name in _architectures:
        raise ValueError(f"the draft architecture {architecture.name} is registered twice")
    _architectures[architecture.name] = architecture


def architecture_names() -> list[str]:
    return sorted(_architectures)


def architecture_of(name: str) -> DraftArchitecture:
    """CONFIG_INVALID if there is none of this name."""
    found = _architectures.get(name)
    if found is not None:
        return found
    raise BridgeError(
        "CONFIG_INVALID",
        "There is no such draft architecture.",
        field="draft.architecture",
        found=name,
        fix=f"one of {', '.join(architecture_names())}",
    )


def require_config_of(architecture: DraftArchitecture, raw: Mapping[str, Any], file: str) -> None:
    """CHECKPOINT_INVALID if a `config.json` names another architecture that is registered."""
    named = set(raw.get("architectures") or ())
    for other in _architectures.values():
        if other is not architecture and named & set(other.config_names) and not named & set(architecture.config_names):
            raise BridgeError(
                "CHECKPOINT_INVALID",
                "The draft is of another architecture.",
                file=file,
                field="architectures",
                found=f"{', '.join(sorted(named))}; draft.architecture is {architecture.name}",
                fix=f"set draft.architecture to {other.name}",
            )


register(Eagle3())
