"""Files of each layout give the sample that their writers mean, and files of another layout are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.features.ingest import load_features, load_in_place
from draftbridge.features.judged import judge
from draftbridge.features.layouts import Form, Layout, unpacked_mask
from draftbridge.features.mask_rows import open_masks
from features.arrow_rows import ROWS, saved_rows
from safetensors.torch import save_file

IDS, MASK = ROWS[0]
LENGTH, HIDDEN, LAYERS = len(IDS), 4, {"hidden_state": 1, "aux_hidden_state": 3}


def form(layout: Layout, masks: Path | None = None) -> Form:
    return Form(LAYERS, layout, "hidden_state", None if masks is None else open_masks(str(masks)))


def states(dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(LENGTH, 4, HIDDEN, generator=torch.Generator().manual_seed(2)).to(dtype)


def extracted(**changes: Any) -> dict[str, Any]:
    """What vLLM writes."""
    return {"hidden_states": states(), "token_ids": torch.tensor(IDS), **changes}


def saved(**changes: Any) -> dict[str, Any]:
    """What TorchSpec writes."""
    whole = states()
    tensors = {
        "input_ids": torch.tensor([IDS]),
        "hidden_states": whole[None, :, :3].flatten(2).clone(),
        "last_hidden_states": whole[None, :, 3].clone(),
    }
    return {**tensors, "packed_loss_mask": "2,2", "data_id": "a", "metadata": {"x": 1}, **changes}


def expect_the_sample(sample: dict[str, torch.Tensor]) -> None:
    assert sample["input_ids"].tolist() == IDS
    assert sample["loss_mask"].tolist() == MASK
    assert torch.equal(sample["hidden_state"], states()[:, 3])
    assert torch.equal(sample["aux_hidden_state"], states()[:, :3].flatten(1))
    assert all(tensor.is_contiguous() for tensor in sample.values())


@pytest.mark.parametrize("load", [load_features, lambda *given: _in_place(*given)])
@pytest.mark.parametrize("name", ["hs_3.safetensors", "request-17.safetensors", "cmpl-0.pt"])
def test_what_vllm_extracted_has_its_mask_from_the_data_set(tmp_path: Path, name: str, load: Any) -> None:
    file = tmp_path / name
    if name.endswith(".pt"):
        torch.save(extracted(), file)
    else:
        save_file(extracted(), file)
    assert judge(str(file)) == ("speculators", "")
    expect_the_sample(load(str(file), 0, form("speculators", saved_rows(tmp_path / "rows")))[0])


def _in_place(file: str, limit: int, how: Form) -> tuple[dict[str, torch.Tensor], bool]:
    found = load_in_place(file, limit, how)
    assert found.copied is not None
    return found.sample, found.truncated


def test_layers_may_be_a_list_and_the_mask_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "data_0.pt"
    layers = [layer.clone() for layer in states().unbind(1)]
    torch.save({"input_ids": torch.tensor(IDS), "loss_mask": torch.tensor(MASK), "hidden_states": layers}, file)
    assert judge(str(file)) == ("speculators", "masked")
    expect_the_sample(load_features(str(file), 0, form("speculators"))[0])


def test_states_in_fp8_are_widened_with_the_scale_of_their_token(tmp_path: Path) -> None:
    file, whole = tmp_path / "hs_0.safetensors", states(torch.float32)
    scales = whole.abs().amax(dim=(1, 2), keepdim=True) / 448
    packed = (whole / scales).to(torch.float8_e4m3fn)
    save_file({"hidden_states": packed, "hidden_states_scales": scales, "token_ids": torch.tensor(IDS)}, file)
    sample, _ = load_features(str(file), 0, form("speculators", saved_rows(tmp_path / "rows")))
    assert sample["hidden_state"].dtype == torch.bfloat16
    assert torch.equal(sample["hidden_state"], packed[:, 3].bfloat16() * scales[:, 0].bfloat16())
    assert torch.allclose(sample["hidden_state"].float(), whole[:, 3], rtol=0.08, atol=0.02)


def test_what_torchspec_saved_unpacks_its_mask(tmp_path: Path) -> None:
    file = tmp_path / "0a.pt"
    torch.save(saved(), file)
    assert judge(str(file)) == ("torchspec", "")
    expect_the_sample(load_features(str(file), 0, form("torchspec"))[0])


@pytest.mark.parametrize(("packed", "mask"), [("0,3", [1, 1, 1]), ("2", [0, 0]), ("1,1,1,2", [0, 1, 0, 1, 1])])
def test_a_packed_mask_begins_with_a_run_of_zeros(packed: str, mask: list[int]) -> None:
    assert unpacked_mask(packed, "file").tolist() == mask


BAD: dict[str, tuple[Layout, dict[str, Any], str | None]] = {
    "no data set": ("speculators", extracted(), "loss_mask"),
    "another number of layers": ("speculators", extracted(hidden_states=states()[:, :3].clone()), "hidden_states"),
    "flat states": ("speculators", extracted(hidden_states=states().flatten(1)), "hidden_states"),
    "FP8 without scales": ("speculators", extracted(hidden_states=states().to(torch.float8_e4m3fn)), None),
    "a mask of another length": ("torchspec", saved(packed_loss_mask="2,3"), "loss_mask"),
    "a mask that is no list of runs": ("torchspec", saved(packed_loss_mask="2,-1,3"), "packed_loss_mask"),
    "a mask that fills the memory": ("torchspec", saved(packed_loss_mask="0,999999999999"), "packed_loss_mask"),
    "no mask": ("torchspec", saved(packed_loss_mask=None), "loss_mask"),
    "no last state": ("torchspec", saved(last_hidden_states=None), "hidden_state"),
    "another layout": ("specforge", extracted(), None),
    "another layout too": ("speculators", saved(), None),
}


@pytest.mark.parametrize("case", BAD)
def test_other_content_is_refused_and_its_field_named(tmp_path: Path, case: str) -> None:
    layout, content, field = BAD[case]
    file = tmp_path / "bad.pt"
    torch.save({name: value for name, value in content.items() if value is not None}, file)
    masks = None if case == "no data set" else saved_rows(tmp_path / "rows")
    with pytest.raises(BridgeError) as caught:
        load_features(str(file), 0, form(layout, masks))
    assert caught.value.code == "FEATURE_INVALID"
    assert caught.value.details["fix"]
    if field is not None:
        assert caught.value.details["field"] == field


def test_files_are_judged_by_their_names_alone(tmp_path: Path) -> None:
    torch.save({"input_ids": torch.ones(1), "loss_mask": torch.ones(1)}, tmp_path / "a.ckpt")
    torch.save({"weights": torch.ones(1)}, tmp_path / "b.ckpt")
    (tmp_path / "c.ckpt").write_text("text")
    (tmp_path / "d.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0")
    (tmp_path / "e.ckpt.gz").write_bytes(b"\x1f\x8b")
    kinds = {name: judge(str(tmp_path / name)) for name in ("a.ckpt", "b.ckpt", "c.ckpt", "d.safetensors", "e.ckpt.gz")}
    assert {name: kind for name, (kind, _) in kinds.items()} == {
        "a.ckpt": "specforge",
        "b.ckpt": "unknown",
        "c.ckpt": "unreadable",
        "d.safetensors": "unreadable",
        "e.ckpt.gz": "compressed",
    }
    assert kinds["b.ckpt"][1] == "weights"
