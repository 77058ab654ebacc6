"""The logits that training rebuilds are the target's own, for tiny random models of many architectures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.capture import FINAL
from draftbridge.capture.logits_probe import expect_rebuildable
from draftbridge.target.layer_states import LayerStates
from draftbridge.target.target import decoder_of, describe, load_model
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
    "Gemma2": {"head_dim": 8, "final_logit_softcapping": None},
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


def difference(folder: Path, dtype: torch.dtype = torch.float32) -> float:
    path = str(folder)
    model: Any = load_model(path, dtype)
    with LayerStates(decoder_of(model, path), (0, 1)) as layers:
        return expect_rebuildable(model, lambda: layers.read(FINAL), load_target_weights(folder).head, path)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "Phi"])
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


def test_capped_logits_are_refused_by_name(tmp_path: Path) -> None:
    assert "final_logit_softcapping" in refused(saved("Gemma2", tmp_path / "model", final_logit_softcapping=2.0))


def test_a_head_with_a_bias_is_refused(tmp_path: Path) -> None:
    assert "PhiForCausalLM: position" in refused(saved("Phi", tmp_path / "model"))


def with_config(folder: Path, **more: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))
    return folder


@pytest.mark.parametrize("change", ["scale", "head", "tie"])
def test_each_deliberate_change_is_caught(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from draftbridge.target import target_weights

    if change == "scale":
        monkeypatch.setattr(target_weights, "_DIVIDES", ())
        folder = saved("Granite", tmp_path / "model")
    elif change == "head":
        monkeypatch.setattr(target_weights, "_HEAD", ("embed_tokens.weight",))
        folder = saved("Llama", tmp_path / "model")
    else:
        monkeypatch.setattr(target_weights, "_ties", lambda *_: True)
        folder = saved("Llama", tmp_path / "model")
    refused(folder)


def test_a_state_without_its_norm_is_caught(tmp_path: Path) -> None:
    folder = saved("Llama", tmp_path / "model")
    model: Any = load_model(str(folder), torch.float32)
    with LayerStates(decoder_of(model, str(folder)), (2,)) as layers, pytest.raises(BridgeError):
        expect_rebuildable(model, lambda: layers._outputs[2], load_target_weights(folder).head, "m")


def test_a_file_with_a_head_of_its_own_under_a_config_that_says_tied_is_as_transformers_loads_it(
    tmp_path: Path,
) -> None:
    folder = saved("Llama", tmp_path / "model")
    tied = with_config(folder, tie_word_embeddings=True)
    model: Any = load_model(str(tied), torch.float32)
    own = load_file(folder / "model.safetensors")["lm_head.weight"]
    is_own = torch.equal(model.lm_head.weight, own)
    if is_own:
        refused(tied)
    else:
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
