"""Writes a copy of a target in which one token gives values that are no numbers: `make_spoiled_target.py FROM TO TOKEN`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file


def main() -> None:
    source, target, token = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    shutil.copytree(source, target)
    weights = load_file(target / "model.safetensors")
    weights["model.embed_tokens.weight"][token] = float("nan")
    save_file(weights, target / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
