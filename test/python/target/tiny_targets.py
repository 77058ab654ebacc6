"""Tiny random targets of many architectures, made once for all tests."""

from __future__ import annotations

from functools import cache
from tempfile import mkdtemp
from typing import Any

import torch
import transformers
from draftbridge.target import target
from draftbridge.target.logit_finish import LogitFinish
from draftbridge.target.logit_rule import finish_of, logit_rule
from draftbridge.target.target_weights import TargetWeights, load_target_weights

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
MLA = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
GEMMA3_WHOLE = "Gemma3ForConditionalGeneration"
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
# Class of transformers, what its configuration needs beside SIZES, and the rule that must be found.
ARCHITECTURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Llama": ({}, {}),
    "Qwen2": ({"tie_word_embeddings": True}, {}),
    "Qwen3": ({"head_dim": 16}, {}),
    "Mistral": ({"sliding_window": 8}, {}),
    "Mixtral": ({"num_local_experts": 4}, {}),
    "Qwen3Moe": (MOE, {}),
    "Gemma": ({"head_dim": 16}, {"norm": "rms-plus-one"}),
    "Gemma2": ({"head_dim": 16, "final_logit_softcapping": 2.0}, {"cap": 2.0, "norm": "rms-plus-one"}),
    "Gemma3": ({"head_dim": 16, "sliding_window": 8}, {"norm": "rms-plus-one"}),
    "Granite": ({"logits_scaling": 8.0, "embedding_multiplier": 12.0}, {"scale": 0.125}),
    "GraniteMoe": ({"logits_scaling": 4.0, "num_local_experts": 4}, {"scale": 0.25}),
    "Cohere": ({"logit_scale": 0.0625}, {"scale": 0.0625, "norm": "layer"}),
    "Cohere2": ({"logit_scale": 0.25, "sliding_window": 8}, {"scale": 0.25, "norm": "layer"}),
    "Phi": ({}, {"bias": True, "norm": "layer"}),
    "Phi3": ({}, {}),
    "StableLm": ({}, {"norm": "layer"}),
    "Olmo": ({}, {"norm": "layer"}),
    "Olmo2": ({}, {}),
    "GPTNeoX": ({}, {"norm": "layer"}),
    "GPT2": ({}, {"norm": "layer"}),
    "OPT": ({"ffn_dim": 48, "word_embed_proj_dim": 32}, {"norm": "layer"}),
    "Starcoder2": ({}, {"norm": "layer"}),
    "MiniCPM3": ({**MLA, "dim_model_base": 8, "scale_emb": 12}, {"scale": 0.25}),
    "DeepseekV3": (
        {
            **MLA,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "moe_intermediate_size": 32,
        },
        {},
    ),
    "GptOss": ({"head_dim": 16, "num_local_experts": 4, "sliding_window": 8}, {}),
    GEMMA3_WHOLE: ({"head_dim": 16}, {"norm": "rms-plus-one"}),
}
TIED_BY_DEFAULT = ("Gemma", "Gemma2", "Gemma3", "Cohere", "Cohere2", "GPT2", "OPT", "Starcoder2", "MiniCPM3")
AUX = (1, 2, 3)
NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")


def model_of(name: str) -> Any:
    torch.manual_seed(7)
    extra = ARCHITECTURES[name][0]
    if name == GEMMA3_WHOLE:
        text = {**SIZES, **extra}
        config = transformers.Gemma3Config(text_config=text, vision_config=VISION, mm_tokens_per_image=4)
        model: Any = transformers.Gemma3ForConditionalGeneration(config)
    else:
        config_class = transformers.Gemma3TextConfig if name == "Gemma3" else getattr(transformers, f"{name}Config")
        kind = "LMHeadModel" if name == "GPT2" else "ForCausalLM"
        model = getattr(transformers, name + kind)(config_class(**{**SIZES, **extra}))
    # Norms of ones, biases of zeros and small logits would hide a part that is left out.
    with torch.no_grad():
        for weight_name, weight in model.named_parameters():
            if weight.dim() == 1:
                weight.uniform_(0.2, 1.2)
            elif "embed" in weight_name or "wte" in weight_name or "lm_head" in weight_name:
                weight.normal_(0, 0.5)
    return model.float().eval()


@cache
def folder_of(name: str) -> str:
    folder = mkdtemp(prefix=f"probe-{name}-")
    model_of(name).save_pretrained(folder)
    return folder


@cache
def loaded(name: str) -> tuple[Any, TargetWeights, LogitFinish]:
    folder = folder_of(name)
    weights = load_target_weights(folder)
    return target.load_model(folder, torch.float32), weights, finish_of(logit_rule(folder, weights), weights)
