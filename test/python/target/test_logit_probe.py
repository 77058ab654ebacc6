"""For tiny random targets of many architectures: training rebuilds their logits, and a change to any part is caught."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from draftbridge.bridge.errors import BridgeError
from draftbridge.target import target
from draftbridge.target.final_norm import final_norm_in
from draftbridge.target.layer_states import LayerStates, StateFeature, text_decoder
from draftbridge.target.logit_finish import LogitFinish
from draftbridge.target.logit_probe import probe, probe_loaded, probe_tokens
from draftbridge.target.logit_rule import finish_of, logit_rule, rule_json
from draftbridge.target.target_weights import TargetWeights, load_target_weights
from target.tiny_targets import (
    ARCHITECTURES,
    AUX,
    GEMMA3_WHOLE,
    NORMS,
    SIZES,
    TIED_BY_DEFAULT,
    folder_of,
    loaded,
    model_of,
)


def tokens_of(model: Any) -> list[int]:
    return probe_tokens(None, model)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_training_rebuilds_the_logits_of(name: str) -> None:
    model, weights, finish = loaded(name)
    largest = probe(model, weights, finish, tokens_of(model), AUX)
    print(f"{name}: {largest:.1e}")
    assert largest < 1e-5
    assert probe_loaded(model, AUX) < 1e-5
    kind = final_norm_in(text_decoder(model)).kind
    rule = replace(logit_rule(folder_of(name), weights), tied=None, norm=None if kind == "rms" else kind)
    assert rule_json(rule) == ARCHITECTURES[name][1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_shape_fits_a_draft_of(name: str) -> None:
    shape = target.describe(folder_of(name))
    assert (shape["hiddenSize"], shape["vocabSize"], shape["numLayers"]) == (32, 96, 6)
    assert shape["maxPositions"] == 64
    assert shape["headDim"] == (ARCHITECTURES[name][0].get("head_dim") or shape["headDim"])


def refused(model: Any, weights: TargetWeights, finish: LogitFinish) -> dict[str, str]:
    with pytest.raises(BridgeError) as caught:
        probe(model, weights, finish, tokens_of(model), AUX)
    assert caught.value.code == "CONTRACT_MISMATCH"
    return caught.value.details


CHANGES: dict[str, Callable[[TargetWeights, LogitFinish], tuple[TargetWeights, LogitFinish]]] = {
    "scale": lambda weights, finish: (weights, replace(finish, scale=finish.scale * 1.01)),
    "cap": lambda weights, finish: (weights, replace(finish, cap=3.0)),
    "head": lambda weights, finish: (replace(weights, head=weights.head.roll(1, 0)), finish),
    "norm": lambda weights, finish: (replace(weights, head=weights.head * torch.linspace(0.5, 1.5, 32)), finish),
    "bias": lambda weights, finish: (weights, replace(finish, bias=torch.linspace(-1, 1, 96))),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_change_is_caught(name: str, change: str) -> None:
    model, weights, finish = loaded(name)
    found = refused(model, *CHANGES[change](weights, finish))["found"]
    assert "at position" in found and "rebuilt" in found
    assert ("a factor of" in found) == (change == "scale" and finish.cap is None)


@pytest.mark.parametrize(
    "name", [name for name in ARCHITECTURES if name not in (*TIED_BY_DEFAULT, "Qwen2", GEMMA3_WHOLE)]
)
def test_a_wrong_tie_is_caught(name: str) -> None:
    model, weights, finish = loaded(name)
    assert not weights.tied
    refused(model, replace(weights, head=weights.embed), finish)


@pytest.mark.parametrize("name", TIED_BY_DEFAULT)
def test_a_class_that_ties_by_default_needs_no_word_in_its_config(name: str, tmp_path: Path) -> None:
    model_of(name).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config.pop("tie_word_embeddings", None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = load_target_weights(tmp_path)
    assert weights.tied
    rule = logit_rule(str(tmp_path), weights)
    assert rule.tied is True
    model = target.load_model(str(tmp_path), torch.float32)
    assert probe(model, weights, finish_of(rule, weights), tokens_of(model), AUX) < 1e-5


@pytest.mark.parametrize("name", ["Llama", "Gemma2", "Phi", "Cohere"])
def test_a_file_with_a_head_of_its_own_beats_a_config_that_says_tied(name: str, tmp_path: Path) -> None:
    model = model_of(name)
    tensors = {key: value.clone() for key, value in model.state_dict().items()}
    tensors["lm_head.weight"] = torch.randn(96, 32, generator=torch.Generator().manual_seed(1))
    config = {**model.config.to_dict(), "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    weights = load_target_weights(tmp_path)
    rule = logit_rule(str(tmp_path), weights)
    assert not weights.tied and rule.tied is False
    whole = target.load_model(str(tmp_path), torch.float32)
    assert probe(whole, weights, finish_of(rule, weights), tokens_of(whole), AUX) < 1e-5


def test_weights_in_pickled_shards_are_those_of_safetensors(tmp_path: Path) -> None:
    expected = load_target_weights(folder_of("Phi"))
    model = model_of("Phi")
    model.config.save_pretrained(tmp_path)
    names = sorted(model.state_dict())
    files = {name: f"pytorch_model-{index % 2}.bin" for index, name in enumerate(names)}
    for file in set(files.values()):
        torch.save({name: model.state_dict()[name] for name in names if files[name] == file}, tmp_path / file)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    found = load_target_weights(tmp_path)
    for one, two in zip(vars(found).values(), vars(expected).values(), strict=True):
        assert (one is None and two is None) or torch.equal(one, two)


class Planted:
    """Unpickling it would make the file."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (open, (self.file, "w"))


def test_nothing_but_tensors_is_unpickled(tmp_path: Path) -> None:
    model_of("Llama").config.save_pretrained(tmp_path)
    torch.save({"model.embed_tokens.weight": Planted(str(tmp_path / "planted"))}, tmp_path / "pytorch_model.bin")
    with pytest.raises(BridgeError) as caught:
        load_target_weights(tmp_path)
    assert caught.value.code == "CONFIG_INVALID"
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_states_before_the_final_norm_are_normed_as_the_target_does(name: str) -> None:
    model, weights, _ = loaded(name)
    decoder = text_decoder(model)
    before: list[torch.Tensor] = []
    last = next(found for part in NORMS if (found := getattr(decoder, part, None)) is not None)
    hook = last.register_forward_pre_hook(lambda _module, given: before.append(given[0]))
    ids = torch.tensor([tokens_of(model)])
    with torch.inference_mode(), LayerStates(decoder, AUX) as layers:
        decoder(input_ids=ids, use_cache=False)
        after = layers.read(StateFeature("hidden_state", "final"))
    hook.remove()
    empty = final_norm_in(text_decoder(target.empty_model(folder_of(name))))
    norm = replace(empty, weight=weights.norm, bias=weights.norm_bias)
    torch.testing.assert_close(norm(before[0]), after, rtol=1e-5, atol=1e-5)


def test_a_target_that_cannot_be_run_on_text_is_refused_by_name() -> None:
    model = model_of("Llama")
    weights = TargetWeights(model.model.embed_tokens.weight, model.lm_head.weight, None)

    def broken(**_: Any) -> None:
        raise TypeError("pixel_values are missing")

    model.forward = broken
    with pytest.raises(BridgeError) as caught:
        probe(model, weights, LogitFinish(), [3, 4], AUX)
    assert caught.value.code == "CONFIG_INVALID"
    assert "pixel_values are missing" in caught.value.details["found"]


def test_states_of_another_width_than_the_embedding_are_refused(tmp_path: Path) -> None:
    config = transformers.OPTConfig(**{**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 16})
    transformers.OPTForCausalLM(config).save_pretrained(tmp_path)
    weights = load_target_weights(tmp_path)
    model = target.load_model(str(tmp_path), torch.float32)
    with pytest.raises(BridgeError) as caught:
        probe(model, weights, LogitFinish(), tokens_of(model), AUX)
    assert caught.value.code == "CONFIG_INVALID"
    assert "auxiliary layers" in str(caught.value)


def test_a_target_whose_tokens_see_those_behind_them_is_refused() -> None:
    model, weights, finish = loaded("Llama")

    def averaged(_module: object, _given: object, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state + output.last_hidden_state.mean(1, keepdim=True)
        return output

    probe(model, weights, finish, probe_tokens(None, model), AUX)
    hook = text_decoder(model).register_forward_hook(averaged)
    try:
        with pytest.raises(BridgeError) as caught:
            probe(model, weights, finish, probe_tokens(None, model), AUX)
    finally:
        # The model is shared by the tests of this file.
        hook.remove()
    assert "see those behind them" in str(caught.value)
