"""The draft model: one decoder layer over [embedding ; hidden], with a head over the draft vocabulary.

EAGLE-3.1 (arXiv 2605.09992) adds two switches, in the names that engines read from `config.json`; both are off by
default:

- `fc_norm`: each of the three auxiliary states has an RMSNorm of its own (`fc_norm.0` low, `fc_norm.1` mid, `fc_norm.2`
  high; eps is `rms_norm_eps`), applied before the states are joined and fused by `fc`. Recurrent states pass neither.
- `norm_output`: the final norm is applied to the layer's output once. The head reads that normed output, and the next
  step starts from it. Off: the head reads the normed output, the next step starts from the raw one.

Sources of the rules: vLLM 0.32 `vllm/model_executor/models/llama_eagle3.py` (`LlamaModel.forward`,
`combine_hidden_states`; pull request 42764); speculators 0.9 `speculators/models/eagle3/core.py` and `config.py` (pull
requests 610 and 670).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from draftbridge.bridge.errors import BridgeError
from draftbridge.drafts.eagle3.rms_norm import RMSNorm

T = TypeVar("T")


@dataclass(frozen=True)
class DraftConfig:
    """Sizes and switches of a draft, in the names of its `config.json`."""

    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    draft_vocab_size: int
    rms_norm_eps: float
    rope_theta: float
    max_position_embeddings: int
    fc_norm: bool = False
    norm_output: bool = False

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], file: str | None = None) -> DraftConfig:
        """Read a `config.json`. `rope_parameters` (transformers 5) wins. CONFIG_INVALID if a size is missing, if a
        switch is not a boolean, or for a part that this draft does not have."""
        _refuse_other_parts(raw, file)
        rope = raw.get("rope_parameters") or {}
        try:
            heads = int(raw["num_attention_heads"])
            hidden = int(raw["hidden_size"])
            config = cls(
                hidden_size=hidden,
                intermediate_size=int(raw["intermediate_size"]),
                num_attention_heads=heads,
                num_key_value_heads=int(raw.get("num_key_value_heads") or heads),
                head_dim=int(raw.get("head_dim") or hidden // heads),
                vocab_size=int(raw["vocab_size"]),
                draft_vocab_size=int(raw.get("draft_vocab_size") or raw["vocab_size"]),
                rms_norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
                rope_theta=float(rope.get("rope_theta", raw.get("rope_theta", 10000.0))),
                max_position_embeddings=int(raw.get("max_position_embeddings", 2048)),
                fc_norm=_switch(raw, "fc_norm", file),
                norm_output=_switch(raw, "norm_output", file),
            )
        except KeyError as exc:
            name = str(exc.args[0])
            raise BridgeError(
                "CONFIG_INVALID", "The draft configuration lacks a size.", file=file, field=name, fix=f"add {name}"
            ) from exc
        if config.num_attention_heads % config.num_key_value_heads or config.draft_vocab_size > config.vocab_size:
            raise BridgeError(
                "CONFIG_INVALID",
                "The draft configuration contradicts itself.",
                file=file,
                field="num_key_value_heads, draft_vocab_size",
                found=f"{config.num_attention_heads}/{config.num_key_value_heads} heads, "
                f"{config.draft_vocab_size} of {config.vocab_size} tokens",
                fix="key-value heads must divide the heads, the draft vocabulary must fit into the target's",
            )
        return config


# Fields with one right value. An engine that reads another one runs another model than the one trained here.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "norm_before_fc": (False,),
    "norm_before_residual": (False,),
    "attention_bias": (False,),
    "qkv_bias": (False,),
    "mlp_bias": (False,),
    "hidden_act": ("silu",),
    "num_hidden_layers": (1,),
    "partial_rotary_factor": (1,),
    "logit_scale": (1,),
}


def _refuse_other_parts(raw: Mapping[str, Any], file: str | None) -> None:
    for name, right in _ONLY.items():
        if raw.get(name) is not None and raw[name] not in right:
            raise _other_part(name, raw[name], str(right[0]).lower(), file)
    for name in ("rope_scaling", "rope_parameters"):
        rope = raw.get(name) or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default":
            raise _other_part(name, kind, "null", file)


def _other_part(name: str, found: object, right: str, file: str | None) -> BridgeError:
    return BridgeError(
        "CONFIG_INVALID",
        "The draft configuration asks for a part that this draft does not have.",
        file=file,
        field=name,
        found=str(found),
        fix=f"set {name} to {right}; of the norms, fc_norm and norm_output can be switched on",
    )


def _switch(raw: Mapping[str, Any], name: str, file: str | None) -> bool:
    value = raw.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BridgeError(
        "CONFIG_INVALID",
        "A switch of the draft configuration is not a boolean.",
        file=file,
        field=name,
        found=repr(value),
        fix="write true or false",
    )


def rope_tables(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines, fp32 [..., T, head_dim], of `positions` [..., T]. They are fp32 because
    neighbouring long positions are equal in half precision."""
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
    angles = positions[..., None].float() * (1.0 / theta**exponents)
    both = torch.cat((angles, angles), -1)
    return both.cos(), both.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate-half RoPE of `x` [..., heads, T, d] by tables [..., T, d]."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    low, high = wide.chunk(2, -1)
    turned = wide * cos.unsqueeze(-3) + torch.cat((-high, low), -1) * sin.unsqueeze(-3)
    return turned.to(x.dtype)


class Attention(nn.Module):
    """The projections. The unroll and the decoder decide which row attends to which keys."""

    def __init__(self, config: DraftConfig) -> None:
        super().__init__()
        width, d = 2 * config.hidden_size, config.head_dim
        self.q_proj = nn.Linear(width, config.num_attention_heads * d, bias=False)
        self.k_proj = nn.Linear(width, config.num_key_value_heads * d, bias=False)
        self.v_proj = nn.Linear(width, config.num_key_value_heads * d, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * d, config.hidden_size, bias=False)


class Mlp(nn.Module):
    def __init__(self, config: DraftConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class MidLayer(nn.Module):
    def __init__(self, config: DraftConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = Mlp(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.hidden_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Draft(nn.Module):
    """The trained draft (H hidden size, d head size, Vd draft vocabulary). The embedding belongs to the target."""

    def __init__(self, config: DraftConfig) -> None:
        super().__init__()
        self.config = config
        norms = [RMSNorm(config.hidden_size, config.rms_norm_eps) for _ in range(3)] if config.fc_norm else []
        self.fc_norm = nn.ModuleList(norms)
        self.fc = nn.Linear(3 * config.hidden_size, config.hidden_size, bias=False)
        self.midlayer = MidLayer(config)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.draft_vocab_size, bias=False)

    def forward(self, work: Callable[[Draft], T]) -> T:
        """Run `work` on this module. A sharded draft gathers its weights once for the whole call."""
        return work(self)

    def fuse(self, aux: Tensor) -> Tensor:
        """Target features [..., 3H] (low, mid, high) -> hidden [..., H]. Only for rows that have target features."""
        if self.config.fc_norm:
            states = aux.chunk(len(self.fc_norm), -1)
            aux = torch.cat([norm(state) for norm, state in zip(self.fc_norm, states, strict=True)], -1)
        out: Tensor = self.fc(aux)
        return out

    def mix(self, embeds: Tensor, hidden: Tensor) -> Tensor:
        """The input [..., 2H] of the projections: embedding first, then hidden, each with its own norm."""
        layer = self.midlayer
        return torch.cat((layer.input_layernorm(embeds), layer.hidden_norm(hidden)), -1)

    def query(self, mixed: Tensor, positions: Tensor) -> Tensor:
        """[B,T,2H], int [B,T] -> q [B,heads,T,d] with rope."""
        q = self._heads(self.midlayer.self_attn.q_proj(mixed))
        return rotate(q, *self._tables(positions))

    def key_value(self, mixed: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """[B,T,2H], int [B,T] -> k (with rope), v, each [B,kv heads,T,d]."""
        attention = self.midlayer.self_attn
        k = rotate(self._heads(attention.k_proj(mixed)), *self._tables(positions))
        return k, self._heads(attention.v_proj(mixed))

    def qkv(self, embeds: Tensor, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B,T,H], [B,T,H], int [B,T] -> q [B,heads,T,d], k and v [B,kv heads,T,d]; rope is in q and k."""
        mixed = self.mix(embeds, hidden)
        return self.query(mixed, positions), *self.key_value(mixed, positions)

    def finish(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """hidden [...,H], attention output [...,heads*d] -> the step's output [...,H], which is the next step's hidden:
        the layer's output, normed if `norm_output` is on and raw if it is off."""
        layer = self.midlayer
        z = hidden + layer.self_attn.o_proj(attended)
        raw: Tensor = z + layer.mlp(layer.post_attention_layernorm(z))
        return self._normed(raw) if self.config.norm_output else raw

    def logits(self, output: Tensor) -> Tensor:
        """What `finish` returned [...,H] -> logits [...,Vd]. The head reads an output that was normed exactly once."""
        out: Tensor = self.lm_head(output if self.config.norm_output else self._normed(output))
        return out

    def _normed(self, raw: Tensor) -> Tensor:
        out: Tensor = self.norm(raw)
        return out

    def _heads(self, flat: Tensor) -> Tensor:
        size = self.config.head_dim
        return flat.view(*flat.shape[:-1], flat.shape[-1] // size, size).transpose(-2, -3)

    def _tables(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return rope_tables(positions, self.config.head_dim, self.config.rope_theta)


def initial_draft(config: DraftConfig, seed: int) -> Draft:
    """Matrices from N(0, 0.02), norms 1. Drawn on the CPU in name order: the same for every rank count and device."""
    # On the meta device, torch does not spend seconds on initial values that are overwritten below.
    with torch.device("meta"):
        draft = Draft(config)
    draft.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, weight in sorted(draft.named_parameters()):
            if weight.dim() == 2:
                weight.normal_(0.0, 0.02, generator=generator)
            else:
                weight.fill_(1.0)
    return draft
