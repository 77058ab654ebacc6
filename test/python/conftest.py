from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from draftbridge.distributed.world import World

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

if not any(Path("/dev").glob("nvidia[0-9]*")):
    # Triton reads it when it is first imported, which other packages do too.
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def tiny_target(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny Llama on disk (make_tiny_target.py). Read only: all tests share it."""
    from make_tiny_target import make_tiny_target

    directory = tmp_path_factory.mktemp("target")
    make_tiny_target(directory)
    return str(directory)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A process group of this one rank, on the CPU and with one thread: small tensors gain nothing from more."""
    import torch
    from draftbridge.distributed.world import join, leave

    torch.set_num_threads(1)
    yield join(0, 1, torch.device("cpu"), "", 60)
    leave()
