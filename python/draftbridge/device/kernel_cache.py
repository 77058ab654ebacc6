"""Where Triton keeps the kernels that it has built: in the user's home, which may be missing or read-only."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path


def ensure_kernel_cache(env: MutableMapping[str, str]) -> None:
    """Names a new temporary folder in `env` unless Triton can write to its own. It is removed when the process ends."""
    if env.get("TRITON_CACHE_DIR") or env.get("TRITON_HOME") or _can_make(Path("~/.triton/cache")):
        return
    # Not a folder that other users could foresee: whoever writes to it decides which code runs.
    folder = tempfile.mkdtemp(prefix="draftbridge-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    env["TRITON_CACHE_DIR"] = folder


def _can_make(folder: Path) -> bool:
    try:
        place = folder.expanduser()
    except RuntimeError:
        # Neither HOME nor an entry of this user.
        return False
    there = next((each for each in (place, *place.parents) if each.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)
