"""The target's last norm, for features that were stored before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from draftbridge.settings.capture_contract import FinalNormKind


@dataclass(frozen=True)
class FinalNorm:
    kind: FinalNormKind
    eps: float
    weight: Tensor | None = None
    """[H]; None: all ones."""
    bias: Tensor | None = None

    def __call__(self, hidden: Tensor) -> Tensor:
        """`hidden` [..., H]. Statistics in fp32 or wider; rounded to the dtype of `hidden` before the weight, except
        where the weight's own addition is wide."""
        wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        if self.kind == "layer":
            wide = wide - wide.mean(-1, keepdim=True)
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        if self.kind == "rms-plus-one":
            assert self.weight is not None
            return (wide * (1 + self.weight.to(wide.dtype))).to(hidden.dtype)
        out = wide.to(hidden.dtype)
        out = out if self.weight is None else self.weight * out
        return out if self.bias is None else out + self.bias


_NAMES = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "final_norm")


def final_norm_in(decoder: Any) -> FinalNorm:
    """The last norm of `decoder` (from `text_decoder`) without its weights, which may lie on the meta device."""
    norm = next((found for name in _NAMES if (found := getattr(decoder, name, None)) is not None), None)
    kind = "other" if norm is None else norm_kind_of(norm)
    return FinalNorm(kind, _eps_of(norm))


def norm_kind_of(norm: Any) -> FinalNormKind:
    """Which kind a norm module of transformers is, by what it does to numbers. Its weights are not read.

    `norm`: on any device, also the meta device. `other`: none that draftbridge can rebuild.
    """
    size = next((p.shape[0] for p in norm.parameters()), None) or _stated_size(norm) or 16
    rows = torch.randn(4, size, generator=torch.Generator().manual_seed(0)) * 3 + 1
    weight = torch.linspace(0.5, 1.5, size)
    given = {name: weight if name.endswith("weight") else weight / 7 for name, _ in norm.named_parameters()}
    bias = next((value for name, value in given.items() if name.endswith("bias")), None)
    try:
        found = torch.func.functional_call(norm, given, (rows,))
    except (RuntimeError, TypeError, NotImplementedError):
        return "other"
    kinds: tuple[FinalNormKind, ...] = ("rms", "rms-plus-one", "layer")
    for kind in kinds:
        if kind == "rms-plus-one" and not given:
            continue
        expected = FinalNorm(kind, _eps_of(norm), weight if given else None, bias)(rows)
        if isinstance(found, Tensor) and torch.allclose(found, expected, rtol=1e-3, atol=1e-3):
            return kind
    return "other"


def _stated_size(norm: Any) -> int | None:
    shape = getattr(norm, "normalized_shape", None)
    return int(shape[0]) if shape else None


def _eps_of(norm: Any) -> float:
    """OLMo's norm has no eps of its own; it calls torch with this one."""
    found = (getattr(norm, name, None) for name in ("variance_epsilon", "eps", "epsilon"))
    return float(next((eps for eps in found if isinstance(eps, float)), 1e-5))
