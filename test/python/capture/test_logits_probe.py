"""The logits that training rebuilds are the target's own, for tiny random models of many architectures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from draftbridge.bridge.errors import BridgeError
from draftbridge.target.layer_states import LayerStates
from draftbridge.target.logit_finish import LogitFinish
from draftbridge.target.logit_probe import probe
from draftbridge.target.logit_rule import finish_of, logit_rule
from draftbridge.target.target import describe, load_model
from draftbridge.target.target_weights import load_target_weights
from safetensors.torch import load_file, save_file

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MOE = {"num_local_experts": 2, "num_experts_per_tok": 1}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen2": {},
    "Qwen3": {"head_dim": 16},
    "Mistral": {"sliding_window": 4},
    "Mixtral": MOE,
    "Qwen3Moe": {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16, "head_dim": 8},
    "Gemma": {"head_dim": 8},
    "Gemma2": {"head_dim": 8, "final_logit_softcapping": 2.0},
    "Granite": {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.2},
    "Cohere": {"logit_scale": 0.0625},
    "Phi": {},
    "Phi3": {},
    "Olmo2": {},
    "GPTNeoX": {},
    "StableLm": {},
    "Starcoder2": {},
    "SmolLM3": {},
    "Glm4": {"head_dim": 8},
}


def saved(name: str, folder: Path, **more: Any) -> Path:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**SIZES, **ARCHITECTURES[name], **more})
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # Norms and heads of a fresh model are trivial: ones and tiny numbers hide what is missing.
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return folder


TOKENS = (5, 9, 3, 70, 8, 8, 41)


def difference(folder: Path, dtype: torch.dtype = torch.float32) -> float:
    weights = load_target_weights(folder)
    finish = finish_of(logit_rule(str(folder), weights), weights)
    return probe(load_model(str(folder), dtype), weights, finish, TOKENS, (0, 1))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_logits_of_an_architecture_are_rebuilt(name: str, tmp_path: Path) -> None:
    folder = saved(name, tmp_path / "model")
    assert difference(folder) < 1e-5
    assert difference(folder, torch.bfloat16) < 3e-2
    assert describe(str(folder))["hiddenSize"] == 32


def refused(folder: Path) -> str:
    with pytest.raises(BridgeError) as caught:
        difference(folder)
    assert caught.value.code == "CONTRACT_MISMATCH"
    assert caught.value.details["field"] == "target.model"
    return str(caught.value.details["found"])


def with_config(folder: Path, **more: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    return folder


@pytest.mark.parametrize("name", ["Granite", "Cohere", "Gemma2", "Phi"])
def test_a_scale_a_cap_and_a_bias_that_are_left_out_are_caught(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(name, tmp_path / "model")
    monkeypatch.setattr(LogitFinish, "__call__", lambda _finish, products, _at: products)
    assert "logit of token" in refused(folder)


@pytest.mark.parametrize("change", ["head", "tie"])
def test_another_head_is_caught(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved("Llama", tmp_path / "model")
    right = load_target_weights(folder)
    wrong = replace(right, head=right.head.flip(0) if change == "head" else right.embed)
    finish = finish_of(logit_rule(str(folder), right), right)
    with pytest.raises(BridgeError) as caught:
        probe(load_model(str(folder), torch.float32), wrong, finish, TOKENS, (0, 1))
    assert caught.value.code == "CONTRACT_MISMATCH"


def test_a_state_without_its_norm_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved("Llama", tmp_path / "model")
    monkeypatch.setattr(LayerStates, "read", lambda states, _state: states._outputs[max(states._outputs)])
    weights = load_target_weights(folder)
    finish = finish_of(logit_rule(str(folder), weights), weights)
    model: Any = load_model(str(folder), torch.float32)
    with pytest.raises(BridgeError) as caught:
        probe(model, weights, finish, TOKENS, (2,))
    assert caught.value.code == "CONTRACT_MISMATCH"


def test_a_file_with_a_head_of_its_own_under_a_config_that_says_tied_is_as_transformers_loads_it(
    tmp_path: Path,
) -> None:
    tied = with_config(saved("Llama", tmp_path / "model"), tie_word_embeddings=True)
    assert difference(tied) < 1e-5


@pytest.mark.parametrize("parts", [1, 2])
def test_weights_of_the_older_form_are_read_and_never_unpickled_blindly(parts: int, tmp_path: Path) -> None:
    folder = saved("Llama", tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    want = load_target_weights(folder)
    (folder / "model.safetensors").unlink()
    names = [sorted(tensors)[part::parts] for part in range(parts)]
    files = ["pytorch_model.bin"] if parts == 1 else [f"pytorch_model-{part}.bin" for part in range(parts)]
    for file, held in zip(files, names, strict=True):
        torch.save({name: tensors[name] for name in held}, folder / file)
    if parts > 1:
        places = {name: file for file, held in zip(files, names, strict=True) for name in held}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    found = load_target_weights(folder)
    assert torch.equal(found.head, want.head)
    assert torch.equal(found.embed, want.embed)
    torch.save({"lm_head.weight": Path("x")}, folder / files[0])
    with pytest.raises(BridgeError) as caught:
        load_target_weights(folder)
    assert caught.value.code == "CONFIG_INVALID"


def test_the_text_model_of_a_multimodal_folder_is_found(tmp_path: Path) -> None:
    folder = saved("Llama", tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    nested = {f"language_model.{name}": tensor for name, tensor in tensors.items()}
    nested["vision_tower.embeddings.word_embeddings.weight"] = torch.zeros(2, 2)
    (tmp_path / "both").mkdir()
    save_file(nested, tmp_path / "both" / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "both" / "config.json").write_text(json.dumps({"model_type": "llava", "text_config": config}))
    found = load_target_weights(tmp_path / "both")
    assert torch.equal(found.head, tensors["lm_head.weight"])
    assert found.norm is not None and torch.equal(found.norm, tensors["model.norm.weight"])
