"""The draft's weights as the fused unroll multiplies by them, and its gradients as the draft has them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.draft import Draft

_ATTENTION = "midlayer.self_attn."
_MLP = "midlayer.mlp."
_QKV = tuple(f"{_ATTENTION}{part}_proj.weight" for part in "qkv")
NAMES = (
    "fc.weight",
    *_QKV,
    f"{_ATTENTION}o_proj.weight",
    f"{_MLP}gate_proj.weight",
    f"{_MLP}up_proj.weight",
    f"{_MLP}down_proj.weight",
    "midlayer.input_layernorm.weight",
    "midlayer.hidden_norm.weight",
    "midlayer.post_attention_layernorm.weight",
    "norm.weight",
    "lm_head.weight",
)


@dataclass(frozen=True)
class Weights:
    """W: query, key and value columns together, Wq of them for queries; I: width of the MLP."""

    fc: Tensor  # [H,3H]
    by_token: Tensor  # [W,H] the halves of the projections that see the embedding
    by_hidden: Tensor  # [W,H] those that see the hidden state
    out: Tensor  # [H,Wq]
    gate_up: Tensor  # [2I,H]
    down: Tensor  # [H,I]
    token_norm: Tensor
    hidden_norm: Tensor
    mlp_norm: Tensor
    head_norm: Tensor
    head: Tensor  # [Vd,H]


def trained(draft: Draft) -> list[Tensor]:
    """All parameters, in the order of NAMES."""
    found = dict(draft.named_parameters())
    if set(found) != set(NAMES):
        raise RuntimeError(f"the fused unroll knows other parameters: {sorted(set(found) ^ set(NAMES))}")
    return [found[name] for name in NAMES]


def packed(given: tuple[Tensor, ...]) -> Weights:
    """Copies what has to be cut or joined; the rest is what was given."""
    by_name = dict(zip(NAMES, given, strict=True))
    hidden = by_name["fc.weight"].shape[0]
    halves = [torch.cat([by_name[name][:, part] for name in _QKV]) for part in (slice(hidden), slice(hidden, None))]
    return Weights(
        fc=by_name["fc.weight"],
        by_token=halves[0],
        by_hidden=halves[1],
        out=by_name[f"{_ATTENTION}o_proj.weight"],
        gate_up=torch.cat([by_name[f"{_MLP}{part}_proj.weight"] for part in ("gate", "up")]),
        down=by_name[f"{_MLP}down_proj.weight"],
        token_norm=by_name["midlayer.input_layernorm.weight"],
        hidden_norm=by_name["midlayer.hidden_norm.weight"],
        mlp_norm=by_name["midlayer.post_attention_layernorm.weight"],
        head_norm=by_name["norm.weight"],
        head=by_name["lm_head.weight"],
    )


def unpacked(grads: Weights, like: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gradients in the order of NAMES, in the dtypes of `like`."""
    shapes = dict(zip(NAMES, like, strict=True))
    inner = shapes[f"{_MLP}gate_proj.weight"].shape[0]
    joined = torch.cat((grads.by_token, grads.by_hidden), 1)
    parts = torch.split(joined, [shapes[name].shape[0] for name in _QKV])
    by_name = dict(zip(_QKV, parts, strict=True)) | {
        "fc.weight": grads.fc,
        f"{_ATTENTION}o_proj.weight": grads.out,
        f"{_MLP}gate_proj.weight": grads.gate_up[:inner],
        f"{_MLP}up_proj.weight": grads.gate_up[inner:],
        f"{_MLP}down_proj.weight": grads.down,
        "midlayer.input_layernorm.weight": grads.token_norm,
        "midlayer.hidden_norm.weight": grads.hidden_norm,
        "midlayer.post_attention_layernorm.weight": grads.mlp_norm,
        "norm.weight": grads.head_norm,
        "lm_head.weight": grads.head,
    }
    return tuple(by_name[name].to(shapes[name].dtype) for name in NAMES)
