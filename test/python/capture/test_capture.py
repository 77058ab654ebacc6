"""Captured rows are the target's own hidden states, and the target is who it says it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE
from draftbridge.bridge.registry import OPS
from draftbridge.capture import target_ops  # noqa: F401  registers the target's ops
from draftbridge.capture.capture import Capture, contract_of
from draftbridge.capture.forward_pass import ForwardPass, NotFinite
from draftbridge.drafts.eagle3.eagle3 import Eagle3
from draftbridge.objects.finite import require_finite
from draftbridge.settings.model_settings import TargetSettings
from draftbridge.target import target
from draftbridge.target.target_shape import position_limit

IDS = [torch.arange(3, 40), torch.arange(50, 61), torch.tensor([7])]


def capture_of(target_dir: str, dtype: Any) -> Capture:
    return Capture(TargetSettings(target_dir, dtype, None), Eagle3(), (1, 3, 4))


def states(capture: Capture, ids: list[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(found["hidden_state"], found["aux_hidden_state"]) for found in capture.features(ids)]


@pytest.fixture(scope="module")
def capture(tiny_target: str) -> Capture:
    return capture_of(tiny_target, "float32")


@pytest.fixture(scope="module")
def model(tiny_target: str) -> Any:
    return target.load_model(tiny_target, torch.float32)


def test_rows_are_bit_for_bit_those_of_output_hidden_states(capture: Capture, model: Any) -> None:
    for ids in IDS:
        [(last, aux)] = states(capture, [ids])
        with torch.inference_mode():
            full = model(ids[None], output_hidden_states=True)
        assert torch.equal(last, full.hidden_states[-1][0])
        # Layer i's output is hidden_states[i + 1].
        assert torch.equal(aux, torch.cat([full.hidden_states[i + 1][0] for i in (1, 3, 4)], -1))


def test_the_head_on_the_last_hidden_state_gives_the_targets_logits(capture: Capture, model: Any) -> None:
    [(last, _)] = states(capture, [IDS[0]])
    with torch.inference_mode():
        logits = model(IDS[0][None]).logits[0]
    torch.testing.assert_close(last @ model.lm_head.weight.T, logits)
    # The state before the final norm would not: this check can tell the two apart.
    with torch.inference_mode():
        before = model.model.norm(last)
    assert not torch.allclose(before @ model.lm_head.weight.T, logits, atol=1e-2)


def test_padding_and_neighbours_in_a_batch_do_not_reach_a_sample(capture: Capture) -> None:
    for alone, (last, aux) in zip(IDS, states(capture, IDS), strict=True):
        [(alone_last, alone_aux)] = states(capture, [alone])
        assert len(last) == len(aux) == len(alone)
        torch.testing.assert_close(last, alone_last, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(aux, alone_aux, rtol=1e-4, atol=1e-5)


def test_a_cpu_computes_in_bfloat16_only_where_it_can(monkeypatch: pytest.MonkeyPatch, tiny_target: str) -> None:
    monkeypatch.setattr("draftbridge.capture.capture.cpu_has_bfloat16", lambda: True)
    assert capture_of(tiny_target, "bfloat16").compute_dtype == torch.bfloat16
    assert capture_of(tiny_target, "float16").compute_dtype == torch.float32


def test_on_other_cpus_bfloat16_features_are_float32_ones_rounded_once(
    monkeypatch: pytest.MonkeyPatch, capture: Capture, tiny_target: str
) -> None:
    monkeypatch.setattr("draftbridge.capture.capture.cpu_has_bfloat16", lambda: False)
    rounded = capture_of(tiny_target, "bfloat16")
    assert rounded.compute_dtype == torch.float32
    [(last, aux)] = states(capture, [IDS[0]])
    [(short_last, short_aux)] = states(rounded, [IDS[0]])
    assert torch.equal(short_last, last.bfloat16())
    assert torch.equal(short_aux, aux.bfloat16())


def test_the_rows_of_a_sample_lie_one_behind_another(capture: Capture) -> None:
    for last, aux in states(capture, IDS):
        assert last.is_contiguous() and aux.is_contiguous()


def test_features_that_are_no_numbers_are_refused() -> None:
    sample = {"hidden_state": torch.ones(3, 2), "aux_hidden_state": torch.ones(3, 6)}
    sample["aux_hidden_state"][2, 1] = float("inf")
    with pytest.raises(BridgeError) as caught:
        require_finite(sample, sample, "talk-3")
    assert caught.value.details["file"] == "talk-3"
    assert caught.value.details["field"] == "aux_hidden_state"
    assert "token 2" in caught.value.details["found"]


def test_a_description_needs_no_weights(tiny_target: str, tmp_path: Path) -> None:
    shutil.copy(Path(tiny_target) / "config.json", tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0]}))
    assert target.describe(str(tmp_path)) == {
        "hiddenSize": 32,
        "intermediateSize": 64,
        "numLayers": 8,
        "numHeads": 4,
        "numKvHeads": 2,
        "headDim": 8,
        "vocabSize": 320,
        "rmsNormEps": 1e-5,
        "ropeTheta": 10000.0,
        "maxPositions": 512,
        "bosId": 1,
        "eosIds": [2, 0],
    }


def test_the_identity_follows_the_weights_and_not_the_folder(tiny_target: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_target, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config))
    assert target.identity(str(copy)) == target.identity(tiny_target)
    weights = copy / "model.safetensors"
    whole = bytearray(weights.read_bytes())
    whole[-1] ^= 1
    weights.write_bytes(whole)
    changed = target.identity(str(copy))
    assert changed != target.identity(tiny_target)
    (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-6}))
    assert target.identity(str(copy)) not in (changed, target.identity(tiny_target))


@pytest.mark.parametrize("kind", ["absent", "empty folder", "text file", "folder of a gguf"])
def test_a_missing_model_is_named_and_never_looked_for_on_a_hub(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "model"
    if kind == "text file":
        place.write_text("no model")
    elif kind != "absent":
        place.mkdir()
    if kind == "folder of a gguf":
        (place / "weights.gguf").touch()
    identity = OPS["target.identity"][1]
    attempts = (
        lambda: target.load_model(str(place), torch.float32),
        lambda: target.describe(str(place)),
        lambda: identity({"model": str(place)}),
    )
    for attempt in attempts:
        with pytest.raises(BridgeError) as caught:
            attempt()
        assert caught.value.code == "CONFIG_INVALID"
        assert caught.value.details["field"] == "target.model"
        assert caught.value.details["file"] == str(place)
    assert kind != "folder of a gguf" or "weights.gguf" in caught.value.details["found"]


def test_a_configuration_that_is_no_json_is_a_coded_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BridgeError, match="cannot be loaded") as caught:
        OPS["target.identity"][1]({"model": str(tmp_path), "tokenizer": None})
    assert caught.value.details["file"] == str(tmp_path)


def test_damaged_weights_are_a_coded_error(tiny_target: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_target, copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BridgeError) as caught:
        target.load_model(str(copy), torch.float32)
    assert caught.value.code == "CONFIG_INVALID"


def test_loading_a_model_writes_nothing_to_the_terminal(tiny_target: str, capfd: pytest.CaptureFixture[str]) -> None:
    target.load_model(tiny_target, torch.float32)
    target.load_tokenizer(tiny_target, None)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("max_length", [8, 20, 100])
def test_a_conversation_is_cut_at_the_positions_of_the_target(
    capture: Capture, monkeypatch: pytest.MonkeyPatch, max_length: int
) -> None:
    monkeypatch.setattr(capture, "positions", 20)
    handle = TABLE.mint(capture)
    conversation = json.dumps({"input_ids": list(range(3, 53)), "loss_start": 5})
    given = {
        "session": handle,
        "conversations": [conversation, json.dumps({"input_ids": [9999], "loss_start": 0})],
        "maxLength": max_length,
    }
    good, bad = OPS["capture.encode"][1](given)["results"]
    assert bad["error"]["code"] == "FEATURE_INVALID"
    [reply] = good["samples"]
    assert reply["numTokens"] == min(max_length, 20)
    assert reply["truncated"] is True


ROPE = {"rope_theta": 10000.0, "factor": 4.0}


@pytest.mark.parametrize(
    ("stated", "rope", "limit"),
    [
        (512, None, 512),
        (512, {**ROPE, "rope_type": "linear"}, 512),
        (512, {**ROPE, "rope_type": "yarn", "original_max_position_embeddings": 512}, 2048),
        (2048, {**ROPE, "rope_type": "yarn", "original_max_position_embeddings": 512}, 2048),
        (512, {**ROPE, "rope_type": "yarn", "original_max_position_embeddings": 256}, 1024),
    ],
)
def test_yarn_stretches_the_positions_of_a_target(stated: int, rope: Any, limit: int) -> None:
    config = transformers.Qwen2Config(max_position_embeddings=stated, rope_parameters=rope)
    assert position_limit(config) == limit


@pytest.mark.parametrize("name", ["T5", "Mamba"])
def test_a_target_without_the_sizes_of_a_decoder_is_refused_by_name(name: str, tmp_path: Path) -> None:
    getattr(transformers, f"{name}Config")().save_pretrained(tmp_path)
    with pytest.raises(BridgeError) as caught:
        target.describe(str(tmp_path))
        target.load_model(str(tmp_path), torch.float32)
    assert caught.value.code == "CONFIG_INVALID"


def test_a_target_whose_config_scales_logits_that_its_class_does_not_is_refused_at_the_start(
    tiny_target: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_target, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "logit_scale": 0.5}))
    with pytest.raises(BridgeError) as caught:
        capture_of(str(copy), "float32")
    assert caught.value.code == "CONTRACT_MISMATCH"
    assert "a factor of 2 would explain it" in caught.value.details["found"]


def test_a_contract_names_what_rebuilds_logits_only_where_it_is_not_the_usual(
    capture: Capture, tiny_target: str, tmp_path: Path
) -> None:
    assert "logits" not in contract_of(capture, tiny_target)
    sizes = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 6, "head_dim": 16}
    config = transformers.Gemma2Config(**sizes, num_attention_heads=2, num_key_value_heads=1)
    transformers.Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    target.load_tokenizer(tiny_target, None).save_pretrained(tmp_path)
    plain = json.loads((tmp_path / "config.json").read_text())
    plain.pop("tie_word_embeddings", None)
    (tmp_path / "config.json").write_text(json.dumps(plain))
    found = contract_of(capture_of(str(tmp_path), "float32"), str(tmp_path))
    assert found["logits"] == {"cap": 30.0, "tied": True, "norm": "rms-plus-one"}


def test_values_that_are_no_numbers_are_named_by_sample_state_and_layer() -> None:
    last, aux = torch.ones(6, 2), torch.ones(6, 6)
    aux[3, 4] = float("inf")
    last[5, 0] = float("nan")
    finite = {"hidden_state": torch.isfinite(last.sum(-1)), "aux_hidden_state": torch.isfinite(aux.sum(-1))}
    rows = {"hidden_state": last, "aux_hidden_state": aux}
    found = ForwardPass(rows, [2, 3, 1], finite, None).not_finite((1, 5, 9))
    assert found == [
        None,
        NotFinite("aux_hidden_state, layer 9", "1 values that are NaN or infinite, the first at token 1"),
        NotFinite("hidden_state", "1 values that are NaN or infinite, the first at token 0"),
    ]


def test_a_sum_that_is_too_large_is_no_bad_value() -> None:
    rows = torch.full((1, 4), 3e38)
    finite = {"hidden_state": torch.isfinite(rows.sum(-1))}
    assert not bool(finite["hidden_state"])
    assert ForwardPass({"hidden_state": rows}, [1], finite, None).not_finite((1,)) == [None]


def test_a_target_that_is_laid_over_all_devices_gives_the_same_states(capture: Capture, tiny_target: str) -> None:
    settings = TargetSettings(tiny_target, "float32", None, devices="all")
    spread = Capture(settings, Eagle3(), (1, 3, 4))
    assert spread.logits == capture.logits
    for one, other in zip(states(spread, IDS), states(capture, IDS), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
