"""Deterministic training: the same numbers from the same run, bit for bit, also on a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from draftbridge.bridge.errors import BridgeError

# cuBLAS reads it when it is first used, and without it may split a product in another way each time.
_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_FIXED = (":4096:8", ":16:8")
_REFUSAL = "does not have a deterministic implementation"


def choose(deterministic: bool) -> None:
    """For this whole process. Must come before CUDA starts: CONFIG_INVALID if that is too late."""
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
def refusals_named() -> Iterator[None]:
    """torch refuses what it cannot do deterministically: CONFIG_INVALID, with the operation in its details."""
    try:
        yield
    except RuntimeError as exc:
        text = str(exc)
        if _REFUSAL not in text:
            raise
        operation = text.split(_REFUSAL)[0].strip()
        error = BridgeError(
            "CONFIG_INVALID",
            "An operation of this training has no deterministic form on this device, and was refused.",
            field="train.deterministic",
            found=operation,
            fix="set train.deterministic to false, or report it: the training should not need this operation",
        )
        error.details["refused"] = operation
        raise error from exc
