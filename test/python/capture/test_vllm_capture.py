"""Files in the form that vLLM writes, made of a tiny target's real states, and the proof of what they hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.capture import Capture
from draftbridge.capture.encoder import contract_of
from draftbridge.capture.vllm_capture import VllmCapture, vllm_layers
from draftbridge.drafts.eagle3.eagle3 import Eagle3
from draftbridge.settings.model_settings import DataSettings, DraftSettings, TargetSettings
from draftbridge.target.target import load_model
from safetensors.torch import save_file

DATA = DataSettings(None, 64, None, "all", "2024-07-26", "skip", 0.01, 16384, False)
DRAFT = DraftSettings("eagle3", "auto", 64, "normal", False, False)
IDS = torch.tensor([1, 40, 77, 101, 5, 260, 33])


def vllm_capture(target: str, aux: tuple[int, ...] = (1, 3, 4), dtype: str = "float32") -> VllmCapture:
    return VllmCapture(TargetSettings(target, dtype, None), DATA, DRAFT, aux)  # type: ignore[arg-type]


def write_like_vllm(target: str, file: Path, ids: torch.Tensor, layers: list[int]) -> torch.Tensor:
    """Writes what goes into each of `layers` and, for the last, what goes into the final norm. Returns the logits."""
    model = load_model(target, torch.float32)
    unnormed: list[torch.Tensor] = []
    model.model.norm.register_forward_pre_hook(lambda _, given: unnormed.append(given[0][0]))
    with torch.no_grad():
        found = model(ids[None], output_hidden_states=True)
    last = model.config.num_hidden_layers
    states = [unnormed[0] if layer == last else found.hidden_states[layer][0] for layer in layers]
    save_file({"hidden_states": torch.stack(states, 1), "token_ids": ids}, file)
    return found.logits[0]


def test_counts_inputs_of_layers_in_the_order_of_the_file() -> None:
    assert vllm_layers((1, 14, 26), 30) == [2, 15, 27, 30]
    assert vllm_layers((26, 1, 14), 30) == [2, 15, 27, 30]
    assert vllm_layers((1, 3, 7), 8) == [2, 4, 8]


@pytest.mark.parametrize("aux", [(1, 3, 4), (4, 0, 3), (2, 7, 5)])
def test_gives_the_states_of_our_own_capture(tiny_target: str, tmp_path: Path, aux: tuple[int, ...]) -> None:
    """Layers in any order, and the last layer, which the file has once for both features."""
    capture, file = vllm_capture(tiny_target, aux), tmp_path / "0.safetensors"
    write_like_vllm(tiny_target, file, IDS, capture.vllm_layers)
    found = capture.features(str(file), IDS)
    ours = Capture(TargetSettings(tiny_target, "float32", None), Eagle3(), aux)
    (expected,) = ours.features([IDS])
    torch.testing.assert_close(found["aux_hidden_state"], expected["aux_hidden_state"], rtol=1e-5, atol=1e-6)
    normed = capture.probe.norm(found["hidden_state"])
    torch.testing.assert_close(normed, expected["hidden_state"], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found["hidden_state"], expected["hidden_state"], rtol=1e-2)


def test_the_contract_says_that_the_last_state_is_not_normed(tiny_target: str) -> None:
    ours = contract_of(Capture(TargetSettings(tiny_target, "float32", None), Eagle3(), (1, 3, 4)), tiny_target)
    found = contract_of(vllm_capture(tiny_target), tiny_target)
    assert {name for name in found if found[name] != ours[name]} == {"finalNorm"}
    assert found["finalNorm"] == "pre"


def likeliest(logits: torch.Tensor, count: int = 5) -> list[list[list[float]]]:
    """As vLLM gives them: of each position but the last."""
    values, tokens = torch.log_softmax(logits[:-1], -1).topk(count)
    return [
        [[float(token), float(value)] for token, value in zip(*row, strict=True)]
        for row in zip(tokens, values, strict=True)
    ]


def test_the_probe_rebuilds_the_logits_and_tells_wrong_states(tiny_target: str, tmp_path: Path) -> None:
    capture, file = vllm_capture(tiny_target), tmp_path / "0.safetensors"
    ids = torch.tensor(capture.probe.tokens)
    logprobs = likeliest(write_like_vllm(tiny_target, file, ids, [7, 8]))
    from draftbridge.capture.vllm_file import states_in

    before, last = states_in(str(file), ids, 2, 32, torch.float32).unbind(1)
    assert capture.probe.compare(last, logprobs) < 1e-5
    with pytest.raises(BridgeError, match="largest difference") as wrong_layer:
        capture.probe.compare(before, logprobs)
    assert wrong_layer.value.code == "CONTRACT_MISMATCH"
    with pytest.raises(BridgeError, match="behind the last norm, not before it"):
        capture.probe.compare(capture.probe.norm(last), logprobs)
    with pytest.raises(BridgeError, match="largest difference"):
        replace(capture.probe, head=capture.probe.head * 1.05).compare(last, logprobs)


def test_refuses_files_of_another_sample_or_form(tiny_target: str, tmp_path: Path) -> None:
    capture, file = vllm_capture(tiny_target), tmp_path / "0.safetensors"
    write_like_vllm(tiny_target, file, IDS, capture.vllm_layers)
    other = IDS.clone()
    other[3] = 9
    cases = {"token 101 at position 3; 9 was sent": other, r"\[7\] tokens; \[6\] were sent": IDS[:6]}
    for said, ids in cases.items():
        with pytest.raises(BridgeError, match=said) as refused:
            capture.features(str(file), ids)
        assert (refused.value.code, refused.value.details["field"]) == ("FEATURE_INVALID", "token_ids")
    with pytest.raises(BridgeError, match=r"expected \[7, 4, 32\] torch.bfloat16"):
        vllm_capture(tiny_target, dtype="bfloat16").features(str(file), IDS)
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(BridgeError, match=r"target\.vllm\.scratch"):
        capture.features(str(file), IDS)


def test_keeps_one_position_for_the_token_that_vllm_generates(tiny_target: str) -> None:
    ours = Capture(TargetSettings(tiny_target, "float32", None), Eagle3(), (1, 3, 4))
    assert vllm_capture(tiny_target).positions == ours.positions - 1
