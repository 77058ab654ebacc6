"""The kernels of the fused unroll as a protocol: `torch_rows.py` defines each, `triton_rows.py` is the fast version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Heads:
    """The columns of a projection: query heads, then key heads, then value heads, `size` columns each."""

    query: int
    key: int
    value: int
    size: int

    @property
    def width(self) -> int:
        return (self.query + self.key + self.value) * self.size


@dataclass(frozen=True)
class RotaryTable:
    """cos and sin [P, size / 2], wide; a row of the batch uses line `rows[row] + shift`."""

    cos: Tensor
    sin: Tensor
    rows: Tensor
    shift: int


@dataclass(frozen=True)
class HeadTensors:
    """Tensors of heads, or of their gradients: [., heads * size] each, None for heads that are left out.

    Row i is at `query[query_rows[i]]`, or `query[i]`, and at `key[i]` and `value[i]`. `own_query` [n, .], wide: the
    part of the query's gradient that came through the rows' own keys.
    """

    query: Tensor | None = None
    query_rows: Tensor | None = None
    key: Tensor | None = None
    value: Tensor | None = None
    own_query: Tensor | None = None


@dataclass(frozen=True)
class OwnKeys:
    """Keys and values [m, n, heads * size] of n rows at m later steps, which only their row attends to, and their
    gradients, wide."""

    keys: Tensor
    values: Tensor
    key_grads: Tensor
    value_grads: Tensor
    heads: int
    size: int


@dataclass(frozen=True)
class EntropyRows:
    """The teacher's logits for n rows, and the outputs of `entropy`.

    `teacher` [R,Vd] logits over the draft vocabulary, `draft_logsumexp` and `teacher_logsumexp` [R] over the
    draft's and over all columns; row i is compared with teacher row `index[i]`. `trained` bool [n]; `best` [n] the
    draft id of the target's likeliest token. Filled: `stats` [3,n] cross entropy, overlap sum_v min(P, q) and hit, zero
    for rows that are not trained; `total` [n] logsumexp of the row; `lesser` [n] the mass of q where it is less than P.
    """

    teacher: Tensor
    draft_logsumexp: Tensor
    teacher_logsumexp: Tensor
    index: Tensor
    trained: Tensor
    best: Tensor
    stats: Tensor
    total: Tensor
    lesser: Tensor


@dataclass(frozen=True)
class Best:
    """Running results over R rows of logits: the largest logit, its token, and the logsumexp."""

    peak: Tensor  # [R] wide
    token: Tensor  # [R] int64
    total: Tensor  # [R] wide


class RowKernels(Protocol):
    """Rows are the first axis of all tensors, and contiguous. "Wide": fp32, or wider if the tensor is wider."""

    def wide(self, dtype: torch.dtype) -> torch.dtype: ...

    def matmul_wide(self, left: Tensor, right: Tensor) -> Tensor:
        """left @ right, not rounded below wide."""
        ...

    def accumulate(self, total: Tensor, left: Tensor, right: Tensor) -> None:
        """total += left @ right, `total` wide."""
        ...

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float, out: Tensor) -> Tensor:
        """Llama's RMSNorm of x [n,H] into `out`; returns the reciprocal root mean squares [n], wide.
        Rows of both may lie apart."""
        ...

    def rms_norm_backward(
        self,
        grad: Tensor,
        x: Tensor,
        scale: Tensor,
        weight: Tensor,
        weight_grad: Tensor,
        residual: Tensor | None,
        out: Tensor,
    ) -> None:
        """out = residual + gradient by x; adds the weight's gradient to `weight_grad` [H], wide.
        `out` may be `grad`."""
        ...

    def rms_norm_weight_grad(self, grad: Tensor, x: Tensor, scale: Tensor, weight_grad: Tensor) -> None:
        """Only the weight's gradient, for a frozen input. Rows of `grad` and `x` may lie apart."""
        ...

    def rotate(
        self,
        hidden_part: Tensor,
        token_part: Tensor,
        tokens: Tensor,
        table: RotaryTable,
        heads: Heads,
        into: HeadTensors,
    ) -> None:
        """hidden_part [n,W] + token_part[tokens], both wide, cut into heads; rope on queries and keys; rounded once."""
        ...

    def rotate_backward(
        self,
        grads: HeadTensors,
        tokens: Tensor,
        table: RotaryTable,
        heads: Heads,
        hidden_grad: Tensor,
        token_grad: Tensor,
    ) -> None:
        """The transpose: hidden_grad [n,W] is written, token_grad[tokens], wide, is added to. Columns of heads that are
        not given are zero."""
        ...

    def merge_own(self, query: Tensor, rows: Tensor | None, own: OwnKeys, out: Tensor, total: Tensor) -> None:
        """Joins attention over the rows' own keys to `out` [N, heads * size], whose scores' logsumexp is
        `total` [query heads, N], wide. Both are changed in place, at `rows`."""
        ...

    def merge_own_backward(
        self,
        grad: Tensor,
        query: Tensor,
        rows: Tensor | None,
        own: OwnKeys,
        out: Tensor,
        total: Tensor,
        grad_rows: Tensor,
        query_grad: Tensor,
    ) -> None:
        """grad [n, heads * size] by the merged output. Writes it to grad_rows[rows], the part that comes through the
        own keys to query_grad [n, ...], wide, and adds to the gradients of `own`."""
        ...

    def silu_mul(self, both: Tensor, out: Tensor) -> None:
        """silu(gate) * up of both [n, 2 * I] = [gate, up]."""
        ...

    def silu_mul_backward(self, grad: Tensor, both: Tensor) -> None:
        """Replaces `both` by its gradient."""
        ...

    def row_logsumexp(self, logits: Tensor) -> Tensor: ...

    def fold(self, logits: Tensor, start: int, best: Best, columns: Tensor, out: Tensor, first: int) -> None:
        """Adds a slice of logits [R,C], whose first column is token `start`, to `best`; the lowest token wins a tie.
        Copies logits[:, columns] to out[:, first:]."""
        ...

    def entropy(self, logits: Tensor, rows: EntropyRows, by_entropy: Tensor | None = None) -> None:
        """Fills `rows` from the draft's logits [n,Vd]. With `by_entropy` it also runs `entropy_grad`."""
        ...

    def entropy_grad(self, logits: Tensor, rows: EntropyRows, by_entropy: Tensor, by_overlap: Tensor | None) -> None:
        """Replaces logits by their gradient, given those [n] by each row's cross entropy and overlap."""
        ...
