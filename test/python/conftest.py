from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

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
