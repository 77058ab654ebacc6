"""The sizes of a target, from a configuration of any architecture of transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.files.plain import read_text

_EPS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", "norm_epsilon", "norm_eps")
_WIDTHS = ("intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner", "moe_intermediate_size")
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")
# Of targets whose configuration names none, such as those with ALiBi: no limit that a conversation reaches.
_NO_LIMIT = 1 << 20


def shape_of(config: Any, path: str) -> dict[str, Any]:
    """The TargetShape (src/core/target-contract.ts) of the text model's `config`. CONFIG_INVALID names a size that it
    does not have."""
    heads = _size(config, ("num_attention_heads", "n_head"), path)
    hidden = _size(config, ("hidden_size", "n_embd", "d_model"), path)
    rope = getattr(config, "rope_parameters", None) or {}
    return {
        "hiddenSize": hidden,
        "intermediateSize": _first(config, _WIDTHS) or 4 * hidden,
        "numLayers": _size(config, ("num_hidden_layers", "n_layer"), path),
        "numHeads": heads,
        "numKvHeads": _first(config, ("num_key_value_heads", "num_kv_heads")) or heads,
        "headDim": _first(config, ("head_dim",)) or hidden // heads,
        "vocabSize": _size(config, ("vocab_size",), path),
        "rmsNormEps": _first(config, _EPS) or 1e-6,
        "ropeTheta": float(rope.get("rope_theta") or getattr(config, "rope_theta", None) or 10000.0),
        "maxPositions": _first(config, _POSITIONS) or _NO_LIMIT,
        "bosId": _one(getattr(config, "bos_token_id", None)),
        "eosIds": _eos_ids(path, config),
    }


def position_limit(config: Any) -> int:
    """How many tokens the target can read at once. YaRN and Llama 3 stretch the positions that it was first trained
    for, and the configuration may state either number."""
    stated = int(_first(config, _POSITIONS) or _NO_LIMIT)
    rope = getattr(config, "rope_parameters", None) or {}
    original, factor = rope.get("original_max_position_embeddings"), rope.get("factor")
    if rope.get("rope_type") not in ("yarn", "llama3") or original is None or factor is None:
        return stated
    return max(stated, int(original * factor))


def _size(config: Any, names: Sequence[str], path: str) -> int:
    found = _first(config, names)
    if found is not None:
        return int(found)
    raise BridgeError(
        "CONFIG_INVALID",
        "the target's configuration lacks a size that every draft needs",
        file=path,
        field=names[0],
        found=f"nothing, in a {type(config).__name__}",
        fix="choose a decoder-only language model as the target",
    )


def _first(config: Any, names: Sequence[str]) -> Any:
    """The first of `names` with a number. Sizes that differ by layer are a list: the largest counts."""
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, list | tuple) and value and all(isinstance(each, int) for each in value):
            value = max(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _one(token: Any) -> int | None:
    return int(token[0]) if isinstance(token, list) and token else token if isinstance(token, int) else None


def _eos_ids(path: str, config: Any) -> list[int]:
    """Every token that ends a turn: generation settings know more of them than the configuration does."""
    found = config.eos_token_id
    settings = Path(path) / "generation_config.json"
    if settings.is_file():
        found = json.loads(read_text(settings, follow=True)).get("eos_token_id", found)
    if found is None:
        return []
    return [int(token) for token in found] if isinstance(found, list) else [int(found)]
