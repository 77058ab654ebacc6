"""What the fused unroll is given, and what its forward pass keeps for its backward pass."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from draftbridge.drafts.eagle3.draft import DraftConfig
from draftbridge.drafts.eagle3.fused.causal import Packed
from draftbridge.drafts.eagle3.fused.mlp import Mlp
from draftbridge.drafts.eagle3.fused.plan import FusedPlan
from draftbridge.drafts.eagle3.fused.weights import Weights
from draftbridge.drafts.eagle3.kernels.row_kernels import Heads, OwnKeys, RotaryTable
from draftbridge.drafts.eagle3.teacher import TeacherLogits


@dataclass(frozen=True)
class Inputs:
    """`embedding` [V,H]; `ids` [N]; `aux` [N,3H], low, mid, high; all on the device."""

    embedding: Tensor
    ids: Tensor
    aux: Tensor
    plan: FusedPlan
    teacher: TeacherLogits
    recompute: bool = False
    """Compute the MLP's activations again in the backward pass instead of keeping them."""


@dataclass
class Trace:
    """A batch of N rows, n of them computed at each of K steps. H hidden, Wq and Wk columns of queries and of keys."""

    config: DraftConfig
    plan: FusedPlan
    weights: Weights
    fusion_input: Tensor  # [N,3H] what `fc` multiplies: the auxiliary states, each normed if `fc_norm` is on
    aux: Tensor  # [N,3H]
    aux_scales: list[Tensor]  # of each auxiliary state, if `fc_norm` is on
    heads: Heads
    packed: Packed
    table: RotaryTable  # for the computed rows, shift 0
    first_table: RotaryTable  # for all rows
    tokens: Tensor  # [N+1,H] embeddings, frozen
    token_scale: Tensor
    token_units: Tensor  # [N+1,H] after their norm
    first: Tensor  # [N,H] the fused features: hidden states of step 0
    first_scale: Tensor
    first_units: Tensor  # [N,H] after the hidden norm
    keys: Tensor  # [N,Wk] of step 0, and values
    values: Tensor
    own: OwnKeys  # of steps 1..K-1
    hidden: Tensor  # [K+1,n,H] what goes into each step, and what comes out of the last
    raw_outputs: Tensor  # [K,n,H] the layer's outputs before the final norm: `hidden[1:]` unless `norm_output` is on
    output_scales: list[Tensor]  # of the final norm at each step
    hidden_scales: list[Tensor]
    units: Tensor  # [K,n,H] after the hidden norm
    queries: Tensor  # [K,N,Wq]
    attended: list[Tensor]  # K times [N,Wq]
    attention_totals: list[Tensor]  # K times [heads,N]
    middle: Tensor  # [K,n,H] after attention and its residual
    middle_scales: list[Tensor]
    middle_units: Tensor  # [K,n,H] after the MLP's norm
    mlp: Mlp
    output_grads: Tensor  # [K,n,H] gradient by each step's output that comes through its logits
    head_grad: Tensor  # [Vd,H], wide
    head_norm_grad: Tensor  # [H], wide
    stats: Tensor  # [K,3,n]
    trained: Tensor  # bool [K,n]

    @property
    def steps(self) -> int:
        return self.stats.shape[0]

    def own_until(self, step: int) -> OwnKeys:
        """The rows' own keys and values of steps 1 to `step`, and their gradients."""
        own = self.own
        parts = (own.keys[:step], own.values[:step], own.key_grads[:step], own.value_grads[:step])
        return OwnKeys(*parts, own.heads, own.size)
