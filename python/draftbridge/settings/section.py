"""From a section of the configuration, or another record that crosses the bridge whole, to a frozen dataclass."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from draftbridge.bridge.errors import BridgeError

S = TypeVar("S")


def from_section(cls: type[S], payload: Mapping[str, Any], name: str = "") -> S:
    """`payload` as `cls`. The rule: a camelCase key is the snake_case field of the same words, in nested sections too.

    A key without a field, or a field without a key, is CONFIG_INVALID: the two halves of the program are then of
    different versions. Only a field whose default is None may be left out. `name`: of the section, for the message.
    """
    known: dict[str, Field[Any]] = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    given = {_snake_case(key): value for key, value in payload.items()}
    missing = {key for key, field in known.items() if key not in given and field.default is not None}
    different = sorted(missing | (given.keys() - known.keys()))
    if different:
        raise BridgeError(
            "CONFIG_INVALID",
            f"A section of the configuration does not have the fields of {cls.__name__}.",
            field=", ".join(f"{name}.{key}" if name else key for key in different),
            found="missing here" if missing else "unknown here",
            fix="install one version of draftbridge: its TypeScript and its Python part do not fit together",
        )
    hints = get_type_hints(cls)
    return cls(**{key: _value(hints[key], value, f"{name}.{key}" if name else key) for key, value in given.items()})


def section_fields(cls: type[Any]) -> dict[str, Any]:
    """The fields of `cls` and of its nested sections, each a dict (a nested section) or None: for the parity test."""
    hints = get_type_hints(cls)
    nested = {field.name: _plain_type(hints[field.name]) for field in fields(cls)}
    return {
        key: section_fields(kind) if isinstance(kind, type) and is_dataclass(kind) else None
        for key, kind in nested.items()
    }


def _value(hint: Any, value: Any, name: str) -> Any:
    kind = _plain_type(hint)
    if value is None:
        return None
    if is_dataclass(kind) and isinstance(kind, type):
        return from_section(kind, value, name)
    if get_origin(kind) is tuple:
        return tuple(_value(get_args(kind)[0], item, name) for item in value)
    return value


def _plain_type(hint: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint


def _snake_case(key: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", key).lower()
