"""The coded errors that Python may raise. Node turns them into its own; the codes are those of src/core/errors.ts."""

from __future__ import annotations

from typing import Any


class BridgeError(Exception):
    """A failure with a stable code. The text says what failed, where, what was found and what to do."""

    def __init__(
        self,
        code: str,
        what: str,
        *,
        file: str | None = None,
        field: str | None = None,
        found: str | None = None,
        fix: str | None = None,
    ) -> None:
        given = {"file": file, "field": field, "found": found, "fix": fix}
        self.code = code
        self.details: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        lines = [what, *(f"  {key + ':':<6} {value}" for key, value in self.details.items())]
        super().__init__("\n".join(lines))
