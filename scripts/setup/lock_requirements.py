"""Writes python/requirements.txt and python/requirements-dev.txt from python/pyproject.toml.

Run it with Python >= 3.11 and `uv` on PATH, only when a dependency changes:

    python3 scripts/setup/lock_requirements.py [--upgrade]

Packages that are listed already keep their versions, so that a new dependency moves nothing else; `--upgrade` renews
them all.
Every package of the closure is listed with its version and the hashes of its wheels for Linux (x86_64 and aarch64) on
CPython 3.10 to 3.13, so `pip install --require-hashes --no-deps` takes these files and nothing else. No address of a
package index is written: which index serves the files is the user's own setting, and the hashes make it irrelevant.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tomllib

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "python"
LISTS = ("requirements.txt", "requirements-dev.txt")
MINORS = range(10, 14)
HEADER = "# Made by scripts/setup/lock_requirements.py from python/pyproject.toml; do not edit.\n"
PLATFORM = re.compile(r" and \(\(platform_machine .*$")
# Said of everything: what lies above, we give no hashes for.
BELOW = re.compile(rf"( and )?python_full_version < '3.{MINORS[-1] + 1}'")
ANY_PYTHON = "python_full_version >= '3.10'"


def main() -> None:
    runtime = resolve()
    everything = resolve("--extra", "dev")
    missing = sorted(set(runtime) - set(everything))
    if missing:
        raise SystemExit(f"runtime and dev closures disagree on {', '.join(missing)}")
    write(PYTHON / LISTS[0], runtime)
    write(PYTHON / LISTS[1], {pin: everything[pin] for pin in everything if pin not in runtime})


def resolve(*options: str) -> dict[str, list[str]]:
    """Requirement line (`name==version` and its marker) -> sha256 hashes of the wheels that we support."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "pylock.toml"
        command = ["uv", "pip", "compile", "--no-python-downloads", "--universal", "--python-version", "3.10"]
        command += ["--format", "pylock.toml", "--output-file", str(out), *options, "pyproject.toml"]
        if "--upgrade" not in sys.argv:
            kept = Path(scratch) / "kept.txt"
            kept.write_text("\n".join(known_pins()))
            command += ["--constraint", str(kept)]
        subprocess.run(command, cwd=PYTHON, check=True, stdout=subprocess.DEVNULL)
        packages: list[dict[str, Any]] = tomllib.loads(out.read_text())["packages"]
    return {requirement(package): hashes(package) for package in packages}


def known_pins() -> list[str]:
    lines = [line for name in LISTS for line in (PYTHON / name).read_text().splitlines()]
    return [line.removesuffix(" \\") for line in lines if re.match(r"[a-z]", line)]


def requirement(package: dict[str, Any]) -> str:
    pin = f"{package['name']}=={package['version']}"
    marker = BELOW.sub("", PLATFORM.sub("", package.get("marker", "")))
    return pin if marker in ("", ANY_PYTHON) else f"{pin} ; {marker}"


def hashes(package: dict[str, Any]) -> list[str]:
    kept = sorted(wheel["hashes"]["sha256"] for wheel in package.get("wheels", []) if supported(file_name(wheel)))
    if not kept:
        raise SystemExit(f"{package['name']} {package['version']} has no wheel for Linux: pip would compile it")
    return kept


def file_name(wheel: dict[str, Any]) -> str:
    return str(wheel.get("name") or wheel["url"].rsplit("/", 1)[1])


def supported(file: str) -> bool:
    pythons, abi, platforms = file.removesuffix(".whl").split("-")[-3:]
    fits_platform = platforms == "any" or re.search(r"(?<!musl)linux\w*_(x86_64|aarch64)(\.|$)", platforms) is not None
    return fits_platform and any(fits_python(python, abi) for python in pythons.split("."))


def fits_python(python: str, abi: str) -> bool:
    if python == "py3":
        return True
    if not python.startswith("cp3"):
        return False
    minor = int(python.removeprefix("cp3") or 0)
    return minor <= MINORS[-1] if abi == "abi3" else minor in MINORS and not abi.endswith("t")


def write(path: Path, pins: dict[str, list[str]]) -> None:
    lines = [HEADER]
    for pin in sorted(pins):
        lines.append(" \\\n    ".join([pin, *(f"--hash=sha256:{digest}" for digest in pins[pin])]) + "\n")
    path.write_text("".join(lines))
    print(f"{path.relative_to(ROOT)}: {len(pins)} packages")


if __name__ == "__main__":
    main()
