"""The coded errors that Python raises. Node raises them again as `CodedError`."""

from __future__ import annotations

from typing import Any, Literal, get_args

ErrorCode = Literal[
    "CONFIG_INVALID",
    "REF_INVALID",
    "MANIFEST_INVALID",
    "SPEC_MISMATCH",
    "FEATURE_INVALID",
    "SAMPLE_CORRUPT",
    "CHECKPOINT_INVALID",
    "CONTRACT_MISMATCH",
    "EXPORT_MISMATCH",
    "SAMPLE_NOT_FOUND",
    "SAMPLE_STALE",
    "STORE_UNAVAILABLE",
    "PYTHON_UNAVAILABLE",
    "PEER_TIMEOUT",
    "PEER_FAILED",
    "PYTHON_RAISED",
    "OUT_OF_MEMORY",
    "ENGINE_DIED",
    "RANK_DIED",
    "RANK_HUNG",
    "STORE_CLOSED",
    "STORE_OVER_BUDGET",
    "STORE_FULL",
    "STORE_BUSY",
    "STORE_AUTH",
    "INTERRUPTED",
]
"""The codes of `errorTable` in src/core/error-table.ts; a test compares the two."""

ERROR_CODES: tuple[ErrorCode, ...] = get_args(ErrorCode)


class BridgeError(Exception):
    """A failure with a stable code. The message says what failed, where, what was found and how to fix it."""

    def __init__(
        self,
        code: ErrorCode,
        what: str,
        *,
        file: str | None = None,
        field: str | None = None,
        found: str | None = None,
        fix: str | None = None,
        column: int | None = None,
    ) -> None:
        """`column`: of the tensor `field`, for a caller who knows which layer it belongs to. Not in the message."""
        if code not in ERROR_CODES:
            raise ValueError(f"{code} is not in the table of error codes (src/core/error-table.ts)")
        given = {"file": file, "field": field, "found": found, "fix": fix}
        self.code: ErrorCode = code
        self.details: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        lines = [what, *(f"  {key + ':':<6} {value}" for key, value in self.details.items())]
        if column is not None:
            self.details["column"] = column
        super().__init__("\n".join(lines))
