"""Makes the packages of a virtual environment importable in an embedded interpreter. Standard library only."""

from __future__ import annotations

import os
import site
import sys


def activate(venv: str) -> str:
    """Put `venv`'s site-packages first on sys.path.

    Raises RuntimeError when the environment belongs to another Python version than the one embedded here: its
    compiled packages would crash, and a crash in native code says nothing.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = os.path.join(venv, "lib", f"python{version}", "site-packages")
    if not os.path.isdir(packages):
        raise RuntimeError(f"{venv} has no packages for Python {version}, the version the bridge was built against")
    known = set(sys.path)
    site.addsitedir(packages)
    added = [entry for entry in sys.path if entry not in known]
    sys.path[:] = added + [entry for entry in sys.path if entry in known]
    sys.prefix = venv
    # An embedded interpreter calls the host program (node) its executable; multiprocessing and torch read this.
    sys.executable = os.path.join(venv, "bin", "python")
    return packages
