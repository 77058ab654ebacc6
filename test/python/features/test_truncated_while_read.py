"""A feature file that another program truncates while it is copied: a coded error or the whole sample, never SIGBUS.

Each case runs in a process of its own, which truncates the file at a fixed moment of the read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

LENGTH, HIDDEN = 600, 64

LOADER = """
import os, sys
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.features import ingest, safetensors_file
from draftbridge.features.layouts import Form

file, moment = sys.argv[1:]

def then_truncated(function):
    def hooked(*given):
        result = function(*given)
        os.truncate(file, 5000)
        return result
    return hooked

if moment == "loaded":
    ingest._checked_tensors = then_truncated(ingest._checked_tensors)
elif file.endswith(".safetensors"):
    safetensors_file._header = then_truncated(safetensors_file._header)
else:
    torch.serialization._open_zipfile_reader = then_truncated(torch.serialization._open_zipfile_reader)
try:
    sample, _ = ingest.load_features(file, 0, Form({"hidden_state": 1, "aux_hidden_state": 3}))
    print("sum", int(sample["aux_hidden_state"].sum()))
except BridgeError as exc:
    print(exc.code, exc.details["file"])
"""


def features() -> dict[str, Any]:
    return {
        "input_ids": torch.arange(LENGTH),
        "loss_mask": torch.ones(LENGTH, dtype=torch.int64),
        "hidden_state": torch.ones(LENGTH, HIDDEN),
        "aux_hidden_state": torch.ones(LENGTH, 3 * HIDDEN),
    }


def loaded(file: Path, moment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LOADER, str(file), moment]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", ["a.ckpt", "a.safetensors"])
def test_a_file_that_is_truncated_while_it_is_copied(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    save = torch.save if name == "a.ckpt" else save_file
    save(features(), file)
    found = loaded(file, "opened")
    assert (found.returncode, found.stdout) == (0, f"FEATURE_INVALID {file}\n"), found.stderr
    assert file.stat().st_size == 5000
    save(features(), file)
    found = loaded(file, "loaded")
    assert (found.returncode, found.stdout) == (0, f"sum {LENGTH * 3 * HIDDEN}\n"), found.stderr
    assert file.stat().st_size == 5000
