"""Kernels are kept in the user's home where it can be written, and in a folder of this process where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from draftbridge.device.kernel_cache import ensure_kernel_cache


def test_a_home_that_can_be_written_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    env: dict[str, str] = {}
    ensure_kernel_cache(env)
    assert env == {}


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/home"])
def test_without_such_a_home_a_new_folder_is_used(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    one: dict[str, str] = {}
    other: dict[str, str] = {}
    ensure_kernel_cache(one)
    ensure_kernel_cache(other)
    folder = Path(one["TRITON_CACHE_DIR"])
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert one != other


def test_a_user_without_a_home_has_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54321)
    env: dict[str, str] = {}
    ensure_kernel_cache(env)
    assert Path(env["TRITON_CACHE_DIR"]).is_dir()


@pytest.mark.parametrize("name", ["TRITON_CACHE_DIR", "TRITON_HOME"])
def test_what_the_user_says_is_kept(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    env = {name: "/mine"}
    ensure_kernel_cache(env)
    assert env == {name: "/mine"}
