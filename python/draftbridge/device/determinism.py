"""Deterministic training: the same numbers from the same run, bit for bit, also on a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from draftbridge.bridge.errors import BridgeError

# cuBLAS reads this variable at its first use. Without it, two equal products may be summed in different orders.
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED = (":4096:8", ":16:8")
_REFUSAL = "does not have a deterministic implementation"


def set_deterministic(deterministic: bool) -> None:
    """Applies to this whole process. CONFIG_INVALID if CUDA has already started without the setting that it needs."""
    if deterministic and os.environ.get(_WORKSPACE) not in _FIXED:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            raise BridgeError(
                "CONFIG_INVALID",
                "This process has started CUDA already, and so cannot become deterministic.",
                field="train.deterministic",
                found=f"{_WORKSPACE}={os.environ.get(_WORKSPACE, '')}",
                fix=f"start the program with {_WORKSPACE}={_FIXED[0]} in its environment",
            )
        os.environ[_WORKSPACE] = _FIXED[0]
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = deterministic


def is_on() -> bool:
    return torch.are_deterministic_algorithms_enabled()


@contextmanager
def nondeterminism_coded() -> Iterator[None]:
    """torch's error for an operation without a deterministic form becomes CONFIG_INVALID, which names the operation."""
    try:
        yield
    except RuntimeError as exc:
        text = str(exc)
        if _REFUSAL not in text:
            raise
        operation = text.split(_REFUSAL)[0].strip()
        error = BridgeError(
            "CONFIG_INVALID",
            "The training uses an operation that has no deterministic form on this device.",
            field="train.deterministic",
            found=operation,
            fix="set train.deterministic to false, or report it: the training should not need this operation",
        )
        error.details["refused"] = operation
        raise error from exc
