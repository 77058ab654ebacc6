"""A store's key: its sources, the keys that are derived from it, and that no message shows it."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from draftbridge.bridge.errors import BridgeError
from draftbridge.keys.key_source import secret_from
from draftbridge.keys.store_key import Mode, StoreKey

SECRET = bytes(range(32))
OTHER = bytes(range(1, 33))
ENV = "DRAFTBRIDGE_STORE_KEY"
SALT = bytes(16)


def key_file(tmp_path: Path, content: bytes = SECRET.hex().encode() + b"\n", mode: int = 0o600) -> Path:
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def refusal(file: Path | None, env: str | None = None) -> BridgeError:
    with pytest.raises(BridgeError) as caught:
        secret_from(None if file is None else str(file), env)
    for form in (SECRET.hex(), base64.b64encode(SECRET).decode(), OTHER.hex()):
        assert form not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        SECRET,
        SECRET.hex().encode(),
        SECRET.hex().upper().encode() + b"\r\n",
        base64.b64encode(SECRET) + b"\n",
        base64.urlsafe_b64encode(SECRET).rstrip(b"="),
    ],
)
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_every_form_of_a_key_file_is_the_same_key(tmp_path: Path, content: bytes, mode: int) -> None:
    assert secret_from(str(key_file(tmp_path, content, mode)), None) == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o700, 0o4600])
def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    error = refusal(key_file(tmp_path, mode=mode))
    assert error.code == "STORE_AUTH"
    assert error.details["found"] == f"mode {mode:04o}"


def test_a_key_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(key_file(tmp_path))
    assert refusal(link).details["found"] == "a symbolic link"


def test_a_directory_a_pipe_and_a_missing_file_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert refusal(pipe).details["found"] == "something else"
    assert refusal(tmp_path).details["found"] == "a directory"
    assert refusal(tmp_path / "none").details["found"] == "no such file"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_user_is_refused(tmp_path: Path) -> None:
    file = key_file(tmp_path)
    os.chown(file, 12345, -1)
    assert refusal(file).details["found"] == "owner 12345"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "0 bytes"),
        (b"x" * 200, "200 bytes"),
        (SECRET.hex().encode()[:-1], "63 bytes that are neither"),
        (SECRET.hex().encode() + b"0", "65 bytes that are neither"),
        (SECRET[:31], "31 bytes that are neither"),
        (b"g" * 64, "64 bytes that are neither"),
        (bytes(32), "fewer than 4 different"),
        (b"0" * 64, "fewer than 4 different"),
    ],
)
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    assert refusal(key_file(tmp_path, content)).details["found"].startswith(found)


def test_the_environment_is_a_source_too_and_must_agree_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = key_file(tmp_path)
    assert refusal(None, ENV).details["field"] == "store.auth.keyFile"
    monkeypatch.setenv(ENV, base64.b64encode(SECRET).decode())
    assert secret_from(None, ENV) == secret_from(str(file), ENV) == SECRET
    monkeypatch.setenv(ENV, OTHER.hex())
    assert refusal(file, ENV).code == "CONFIG_INVALID"
    monkeypatch.setenv(ENV, SECRET.hex()[:-1])
    assert refusal(None, ENV).details["field"] == ENV
    monkeypatch.setenv(ENV, "")
    assert refusal(None, ENV).code == "STORE_AUTH"


def a_key(secret: bytes = SECRET, mode: Mode = "mac", store_id: str = "store-a", salt: bytes = SALT) -> StoreKey:
    return StoreKey(secret, mode=mode, store_id=store_id, salt=salt)


def test_secret_mode_store_salt_and_purpose_each_make_another_key() -> None:
    keys = [a_key(), a_key(OTHER), a_key(mode="seal"), a_key(store_id="store-b"), a_key(salt=bytes(15) + b"1")]
    for derived in (
        [key.sign("header", b"x") for key in keys],
        [key.check for key in keys],
        [key.id for key in keys],
        [key.chunk_key(SALT) for key in keys],
        [key.mask(SALT, "a") for key in keys],
    ):
        assert len(set(derived)) == len(keys)
    key = a_key()
    assert key.sign("header", b"x") != key.sign("manifest", b"x")
    assert key.chunk_key(SALT) != key.chunk_key(bytes(15) + b"1")
    assert key.mask(SALT, "a") != key.mask(SALT, "b")
    assert key.sign("header", b"x") == a_key().sign("header", b"x")


def test_only_its_own_mac_is_accepted() -> None:
    key = a_key()
    mac = key.sign("header", b"text")
    assert key.signer_of("header", b"text", mac) is key
    for data, stated in [
        (b"Text", mac),
        (b"text", a_key(OTHER).sign("header", b"text")),
        (b"text", ""),
        (b"text", "ü"),
    ]:
        assert key.signer_of("header", data, stated) is None


def test_a_previous_key_is_accepted_after_the_new_one_took_it_out_and_by_no_other() -> None:
    old, new = a_key(), a_key(OTHER, salt=bytes(15) + b"1")
    mac = old.sign("header", b"text")
    wrapped = new.wrap(old)
    assert SECRET not in wrapped
    for wrong in (old, a_key(OTHER, mode="seal"), a_key(OTHER, store_id="store-b")):
        with pytest.raises(BridgeError) as caught:
            wrong.join_previous(SALT, wrapped)
        assert caught.value.code == "STORE_AUTH"
    with pytest.raises(BridgeError):
        new.join_previous(SALT, wrapped[:-1] + bytes([wrapped[-1] ^ 1]))
    with pytest.raises(BridgeError):
        new.join_previous(SALT, b"")
    assert new.signer_of("header", b"text", mac) is None
    new.join_previous(SALT, wrapped)
    found = new.signer_of("header", b"text", mac)
    assert found is not None
    assert found.id == old.id
    assert found.chunk_key(SALT) == old.chunk_key(SALT)


def test_a_key_shows_nothing_of_itself() -> None:
    key = a_key()
    shown = f"{key!r} {key}"
    assert SECRET.hex() not in shown
    assert repr(SECRET) not in shown
