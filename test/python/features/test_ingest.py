"""Feature files of other programs are taken in exactly, or refused by name; code in them never runs."""

from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.features.ingest import load_features
from draftbridge.features.layouts import Form
from draftbridge.features.token_counts import TokenCounts, content_digest
from safetensors.torch import save_file

LENGTH, HIDDEN = 6, 4
LAYERS = Form({"hidden_state": 1, "aux_hidden_state": 3})


def features(**changes: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    whole = {
        "input_ids": torch.arange(LENGTH),
        "loss_mask": torch.tensor([0, 0, 1, 1, 1, 1]),
        "hidden_state": torch.randn(1, LENGTH, HIDDEN, generator=generator).bfloat16(),
        "aux_hidden_state": torch.randn(1, LENGTH, 3 * HIDDEN, generator=generator).bfloat16(),
    }
    return {**whole, **changes}


def saved(path: Path, content: Any) -> str:
    torch.save(content, path)
    return str(path)


def zipped(path: Path, content: Any) -> str:
    plain = Path(saved(path.with_suffix(".tmp"), content))
    path.write_bytes(gzip.compress(plain.read_bytes()))
    return str(path)


def as_safetensors(path: Path, content: Any) -> str:
    save_file(content, path)
    return str(path)


def refused(file: str) -> dict[str, str]:
    with pytest.raises(BridgeError) as caught:
        load_features(file, 0, LAYERS)
    assert caught.value.code == "FEATURE_INVALID"
    details = caught.value.details
    assert details["file"] == file
    assert details["found"]
    assert details["fix"]
    return details


@pytest.mark.parametrize(
    ("name", "save"), [("a.ckpt", saved), ("a.ckpt.gz", zipped), ("a.safetensors", as_safetensors)]
)
def test_every_form_of_file_gives_the_same_sample(tmp_path: Path, name: str, save: Callable[[Path, Any], str]) -> None:
    given = features()
    sample, cut = load_features(save(tmp_path / name, given), 0, LAYERS)
    assert not cut
    assert {key: tuple(tensor.shape) for key, tensor in sample.items()} == {
        "input_ids": (6,),
        "loss_mask": (6,),
        "hidden_state": (6, 4),
        "aux_hidden_state": (6, 12),
    }
    for key, tensor in sample.items():
        assert tensor.dtype == given[key].dtype
        assert torch.equal(tensor, given[key].reshape(tensor.shape))


@pytest.mark.parametrize("ids", [torch.int32, torch.int16, torch.uint8, torch.int64])
@pytest.mark.parametrize("mask", [torch.bool, torch.uint8, torch.int32])
@pytest.mark.parametrize("axes", [1, 2])
def test_ids_and_masks_of_other_whole_numbers_are_the_same_sample(
    tmp_path: Path, ids: torch.dtype, mask: torch.dtype, axes: int
) -> None:
    given = features()
    want, _ = load_features(saved(tmp_path / "want.ckpt", given), 0, LAYERS)
    odd = {**given, "input_ids": given["input_ids"].to(ids), "loss_mask": given["loss_mask"].to(mask)}
    if axes == 2:
        odd |= {name: odd[name][None] for name in ("input_ids", "loss_mask")}
    else:
        odd |= {name: odd[name][0] for name in ("hidden_state", "aux_hidden_state")}
    found, _ = load_features(saved(tmp_path / "odd.ckpt", odd), 0, LAYERS)
    for name, tensor in want.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_a_long_sample_is_cut_in_all_tensors_and_keeps_no_hold_on_the_file(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.ckpt", features())
    sample, cut = load_features(file, 4, LAYERS)
    assert cut
    assert [len(tensor) for tensor in sample.values()] == [4, 4, 4, 4]
    # The file was mapped: what is kept must be memory of its own.
    os.truncate(file, 0)
    assert sample["input_ids"].tolist() == [0, 1, 2, 3]
    assert sample["hidden_state"].untyped_storage().nbytes() == 4 * HIDDEN * 2


def test_what_lies_behind_the_cut_is_not_judged(tmp_path: Path) -> None:
    given = features()
    given["hidden_state"][0, 5, 0] = float("nan")
    sample, _ = load_features(saved(tmp_path / "a.ckpt", given), 5, LAYERS)
    assert len(sample["input_ids"]) == 5


BAD: dict[str, tuple[str, Callable[[], Any]]] = {
    "missing tensor": ("aux_hidden_state", lambda: {k: v for k, v in features().items() if k != "aux_hidden_state"}),
    "ids that are no whole numbers": ("input_ids", lambda: features(input_ids=torch.arange(LENGTH).float())),
    "mask of another dtype": ("loss_mask", lambda: features(loss_mask=torch.ones(LENGTH))),
    "integer states": ("hidden_state", lambda: features(hidden_state=torch.ones(1, LENGTH, HIDDEN, dtype=torch.int64))),
    "states of two dtypes": ("aux_hidden_state", lambda: features(aux_hidden_state=torch.ones(1, LENGTH, 12))),
    "ids of two samples": ("input_ids", lambda: features(input_ids=torch.ones(2, LENGTH, dtype=torch.int64))),
    "a batch of two": ("hidden_state", lambda: features(hidden_state=torch.ones(2, LENGTH, HIDDEN).bfloat16())),
    "aux of two layers": ("aux_hidden_state", lambda: features(aux_hidden_state=torch.ones(1, LENGTH, 8).bfloat16())),
    "short mask": ("loss_mask", lambda: features(loss_mask=torch.ones(LENGTH - 1, dtype=torch.int64))),
    "short states": ("hidden_state", lambda: features(hidden_state=torch.ones(1, LENGTH - 1, HIDDEN).bfloat16())),
    "NaN": ("hidden_state", lambda: features(hidden_state=torch.full((1, LENGTH, HIDDEN), float("nan")).bfloat16())),
    "infinity": (
        "aux_hidden_state",
        lambda: features(aux_hidden_state=torch.full((1, LENGTH, 12), float("inf")).bfloat16()),
    ),
    "a mask of twos": ("loss_mask", lambda: features(loss_mask=torch.full((LENGTH,), 2))),
    "a negative id": ("input_ids", lambda: features(input_ids=torch.full((LENGTH,), -1))),
    "no tokens": ("input_ids", lambda: features(input_ids=torch.ones(0, dtype=torch.int64))),
    "a list": ("input_ids", lambda: features(input_ids=[1, 2, 3])),
    # 24 million rows over the bytes of one.
    "a view beyond its bytes": (
        "hidden_state",
        lambda: features(hidden_state=torch.ones(1, 1, HIDDEN).bfloat16().expand(1, LENGTH << 22, HIDDEN)),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_sample_is_refused_and_its_field_named(tmp_path: Path, case: str) -> None:
    field, make = BAD[case]
    assert refused(saved(tmp_path / "bad.ckpt", make()))["field"] == field


@pytest.mark.parametrize(("width", "found"), [(2 * HIDDEN, None), (2 * HIDDEN + 1, f"width {2 * HIDDEN + 1}; ")])
def test_the_states_are_those_that_the_caller_names(tmp_path: Path, width: int, found: str | None) -> None:
    ids, mask = torch.arange(LENGTH), torch.ones(LENGTH, dtype=torch.int64)
    content = {"input_ids": ids, "loss_mask": mask, "middle": torch.ones(LENGTH, width), "unread": torch.ones(1)}
    file = saved(tmp_path / "one.ckpt", content)
    if found is None:
        assert set(load_features(file, 0, Form({"middle": 2}))[0]) == {"input_ids", "loss_mask", "middle"}
    else:
        with pytest.raises(BridgeError) as caught:
            load_features(file, 0, Form({"middle": 2}))
        assert caught.value.details["found"].startswith(found)


class Payload:
    """What a pickle can do: run a command when it is read."""

    def __init__(self, witness: Path) -> None:
        self._witness = witness

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._witness}",)


@pytest.mark.parametrize("form", ["archive", "gzip", "bare pickle", "archive in a safetensors name"])
def test_code_in_a_file_never_runs(tmp_path: Path, form: str) -> None:
    witness = tmp_path / "it-ran"
    content = features(extra=Payload(witness))
    if form == "bare pickle":
        file = str(tmp_path / "evil.ckpt")
        Path(file).write_bytes(pickle.dumps(content))
    elif form == "gzip":
        file = zipped(tmp_path / "evil.ckpt.gz", content)
    else:
        file = saved(tmp_path / ("evil.ckpt" if form == "archive" else "evil.safetensors"), content)
    details = refused(file)
    assert not witness.exists()
    if form in ("archive", "gzip"):
        assert "system" in details["found"]


def test_the_payload_of_these_tests_would_run_if_it_were_read(tmp_path: Path) -> None:
    witness = tmp_path / "it-ran"
    pickle.loads(pickle.dumps(Payload(witness)))  # noqa: S301
    assert witness.exists()


@pytest.mark.parametrize("keep", [0, 1, 100, 600, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    whole = Path(saved(tmp_path / "whole.ckpt", features())).read_bytes()
    for name, content in (("a.ckpt", whole), ("a.ckpt.gz", gzip.compress(whole)), ("a.safetensors", whole)):
        file = tmp_path / name
        file.write_bytes(content[:keep])
        refused(str(file))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "a.ckpt"
    text.write_text("this is no archive")
    assert "begins with" in refused(str(text))["found"]
    assert refused(str(tmp_path / "absent.ckpt"))["found"] == "no such file"
    assert "list" in refused(saved(tmp_path / "list.ckpt", [1, 2]))["found"]


def test_a_file_that_expands_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("draftbridge.features.feature_file._ALWAYS_ALLOWED", 1 << 20)
    bomb = tmp_path / "bomb.ckpt.gz"
    bomb.write_bytes(gzip.compress(bytes(1 << 23)))
    assert "more than" in refused(str(bomb))["found"]


def test_trained_tokens_are_counted_with_the_last_one_and_ordered_by_count_then_id() -> None:
    counts = TokenCounts(10)
    counts.add({"input_ids": torch.tensor([7, 3, 3, 5]), "loss_mask": torch.tensor([0, 1, 1, 1])})
    counts.add({"input_ids": torch.tensor([9, 1]), "loss_mask": torch.tensor([1, 1])})
    assert counts.pairs() == [[3, 2], [1, 1], [5, 1], [9, 1]]


def test_a_token_that_the_target_does_not_have_is_refused_also_where_it_is_not_trained() -> None:
    with pytest.raises(BridgeError) as caught:
        TokenCounts(10).add({"input_ids": torch.tensor([10, 1]), "loss_mask": torch.tensor([0, 1])})
    assert caught.value.code == "FEATURE_INVALID"
    assert "10" in caught.value.details["found"]


def test_contents_are_equal_when_ids_and_mask_are() -> None:
    def content(ids: list[int], mask: list[int]) -> str:
        given = {"input_ids": torch.tensor(ids), "loss_mask": torch.tensor(mask), "hidden_state": torch.rand(3)}
        return content_digest(given)

    assert content([1, 2, 3], [0, 1, 1]) == content([1, 2, 3], [0, 1, 1])
    others = [content([1, 2, 3], [0, 0, 1]), content([1, 3, 2], [0, 1, 1]), content([1, 2], [0, 1]), content([], [])]
    others.append(content([1, 2, 3], [0, 1, 1]))
    assert len(set(others)) == len(others)
