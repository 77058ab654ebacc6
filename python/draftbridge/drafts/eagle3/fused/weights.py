"""The draft's weights in the layout of the fused unroll, and their gradients in the layout of the draft."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.draft import Draft, DraftConfig

_ATTENTION = "midlayer.self_attn."
_MLP = "midlayer.mlp."
_QKV = tuple(f"{_ATTENTION}{part}_proj.weight" for part in "qkv")
_NAMES = (
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
_FC_NORMS = tuple(f"fc_norm.{state}.weight" for state in range(3))


def names(config: DraftConfig) -> tuple[str, ...]:
    """The trained weights of a draft, in the order in which the fused unroll takes them."""
    return (*_NAMES, *_FC_NORMS) if config.fc_norm else _NAMES


@dataclass(frozen=True)
class Weights:
    """W: query, key and value columns together, Wq of them for queries; I: width of the MLP."""

    fc: Tensor  # [H,3H]
    fc_norms: tuple[Tensor, ...]  # one [H] for each auxiliary state; none if `fc_norm` is off
    by_token: Tensor  # [W,H] the halves of the projections that multiply the embedding
    by_hidden: Tensor  # [W,H] the halves that multiply the hidden state
    out: Tensor  # [H,Wq]
    gate_up: Tensor  # [2I,H]
    down: Tensor  # [H,I]
    token_norm: Tensor
    hidden_norm: Tensor
    mlp_norm: Tensor
    head_norm: Tensor
    head: Tensor  # [Vd,H]


def trained(draft: Draft) -> list[Tensor]:
    """All parameters, in the order of `names`."""
    found, expected = dict(draft.named_parameters()), names(draft.config)
    if set(found) != set(expected):
        raise RuntimeError(f"the fused unroll knows other parameters: {sorted(set(found) ^ set(expected))}")
    return [found[name] for name in expected]


def packed(config: DraftConfig, given: tuple[Tensor, ...]) -> Weights:
    """`given` in the order of `names`. Weights that are cut or joined are
    copied; the others are the given tensors."""
    by_name = dict(zip(names(config), given, strict=True))
    hidden = by_name["fc.weight"].shape[0]
    halves = [torch.cat([by_name[name][:, part] for name in _QKV]) for part in (slice(hidden), slice(hidden, None))]
    return Weights(
        fc=by_name["fc.weight"],
        fc_norms=tuple(by_name[name] for name in _FC_NORMS) if config.fc_norm else (),
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


def unpacked(config: DraftConfig, grads: Weights, like: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gradients in the order of `names`, in the dtypes of `like`."""
    shapes = dict(zip(names(config), like, strict=True))
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
    by_name |= dict(zip(_FC_NORMS, grads.fc_norms, strict=False))
    return tuple(by_name[name].to(weight.dtype) for name, weight in shapes.items())
