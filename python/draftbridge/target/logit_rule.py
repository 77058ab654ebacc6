"""What rebuilds a target's logits from its last hidden state, read from its files without the rest of the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from draftbridge.files.plain import read_text
from draftbridge.settings.capture_contract import LogitRule
from draftbridge.target.logit_finish import LogitFinish
from draftbridge.target.target_weights import TargetWeights

# Architectures whose classes never scale or cap logits: their config.json need not be read by transformers, whose
# import takes seconds.
_PLAIN = (
    "llama",
    "mistral",
    "mixtral",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "phi",
    "phi3",
    "smollm3",
    "gpt_oss",
    "deepseek_v3",
)
_FACTORS = ("logit_scale", "lm_head_multiplier", "output_multiplier")
_DIVISORS = ("logits_scaling", "logits_mup_width_multiplier")
_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")


def logit_rule(model: str, weights: TargetWeights) -> LogitRule:
    """The rule of the target at `model` without its norm. Only what is not the usual is set."""
    bias = True if weights.head_bias is not None else None
    if weights.rule is not None:
        return replace(weights.rule, bias=bias)
    raw = json.loads(read_text(Path(model) / "config.json", follow=True))
    # Tied weights are what config.json says, or untied when it says nothing.
    tied = weights.tied if weights.tied != bool(raw.get("tie_word_embeddings", False)) else None
    config = raw if raw.get("model_type", _PLAIN[0]) in _PLAIN else _full(model)
    return replace(stated_rule(config), bias=bias, tied=tied)


def stated_rule(config: Mapping[str, Any]) -> LogitRule:
    """Scale and cap that the text model's `config` states."""
    scale = _scale(config)
    return LogitRule(None if scale == 1 else scale, _number(config, _CAPS))


def loaded_rule(model: Any) -> LogitRule:
    """Scale and cap of a model of transformers that is loaded."""
    return stated_rule(_fields(model.config.get_text_config()))


def finish_of(rule: LogitRule, weights: TargetWeights) -> LogitFinish:
    return LogitFinish(1.0 if rule.scale is None else rule.scale, rule.cap, weights.head_bias)


def rule_json(rule: LogitRule) -> dict[str, Any]:
    """Its named parts, as the capture contract holds them."""
    return {name: value for name, value in asdict(rule).items() if value is not None}


def _full(model: str) -> dict[str, Any]:
    """The text model's configuration with the defaults of its class."""
    from draftbridge.target.target import load_config

    return _fields(load_config(model))


def _fields(config: Any) -> dict[str, Any]:
    return {**vars(config), "model_type": config.model_type}


def _scale(config: Mapping[str, Any]) -> float:
    kind = str(config.get("model_type"))
    if kind.startswith("minicpm") and config.get("dim_model_base"):
        return float(config["dim_model_base"]) / float(config["hidden_size"])
    factor = _number(config, _FACTORS) or 1.0
    divisor = _number(config, _DIVISORS) or 1.0
    return factor * divisor if kind == "hyperclovax" else factor / divisor


def _number(config: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    found = (config.get(name) for name in names)
    return next((float(value) for value in found if isinstance(value, int | float) and value), None)
