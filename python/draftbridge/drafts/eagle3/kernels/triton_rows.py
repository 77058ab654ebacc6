"""The row kernels for CUDA in half precision. `row_kernels.py` documents them, `torch_rows.py` defines them.

Sizes that change from batch to batch are launch arguments, not compile-time constants.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor

from draftbridge.drafts.eagle3.kernels import head_kernels, norm_kernels
from draftbridge.drafts.eagle3.kernels.row_kernels import Heads, HeadTensors, OwnKeys, RotaryTable
from draftbridge.drafts.eagle3.kernels.triton_logits import entropy, entropy_grad, fold, row_logsumexp

__all__ = [
    "accumulate",
    "entropy",
    "entropy_grad",
    "fold",
    "matmul_wide",
    "merge_own",
    "merge_own_backward",
    "rms_norm",
    "rms_norm_backward",
    "rms_norm_weight_grad",
    "rotate",
    "rotate_backward",
    "row_logsumexp",
    "silu_mul",
    "silu_mul_backward",
    "wide",
]

# Programs of a kernel that adds up over rows: a few for each multiprocessor of a large GPU.
_PROGRAMS = 528
_HEAD_GROUP = 16


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def matmul_wide(left: Tensor, right: Tensor) -> Tensor:
    if left.dtype == torch.float32:
        return left @ right
    return torch.mm(left, right, out_dtype=torch.float32)


def accumulate(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == torch.float32:
        total.addmm_(left, right)
    else:
        torch.ops.aten.addmm.dtype_out(total, left, right, torch.float32, out=total)


def _block(width: int) -> int:
    return int(triton.next_power_of_2(width))


def _warps(block: int) -> int:
    return min(16, max(1, block // 256))


def rms_norm(x: Tensor, weight: Tensor, eps: float, out: Tensor) -> Tensor:
    rows, width = x.shape
    scale = torch.empty(rows, dtype=torch.float32, device=x.device)
    block = _block(width)
    strides = (x.stride(0), out.stride(0))
    norm_kernels.rms_norm[(rows,)](x, weight, out, scale, *strides, width, eps, BLOCK=block, num_warps=_warps(block))
    return scale


def rms_norm_backward(
    grad: Tensor, x: Tensor, scale: Tensor, weight: Tensor, weight_grad: Tensor, residual: Tensor | None, out: Tensor
) -> None:
    rows, width = x.shape
    block = _block(width)
    programs = min(rows, _PROGRAMS)
    partial = torch.empty(programs, width, dtype=torch.float32, device=x.device)
    norm_kernels.rms_norm_backward[(programs,)](
        grad,
        x,
        scale,
        weight,
        partial,
        grad if residual is None else residual,
        out,
        rows,
        width,
        HAS_RESIDUAL=residual is not None,
        BLOCK=block,
        num_warps=_warps(block),
    )
    weight_grad += partial.sum(0)


def rms_norm_weight_grad(grad: Tensor, x: Tensor, scale: Tensor, weight_grad: Tensor) -> None:
    rows, width = x.shape
    block = _block(width)
    programs = min(rows, _PROGRAMS)
    partial = torch.empty(programs, width, dtype=torch.float32, device=x.device)
    norm_kernels.rms_norm_weight_grad[(programs,)](
        grad, x, scale, partial, grad.stride(0), x.stride(0), rows, width, BLOCK=block, num_warps=_warps(block)
    )
    weight_grad += partial.sum(0)


def _head_sizes(heads: Heads) -> dict[str, Any]:
    return {
        "QUERY": heads.query,
        "KEY": heads.key,
        "VALUE": heads.value,
        "HALF": heads.size // 2,
        "HALF_BLOCK": _block(heads.size // 2),
        "GROUP": _HEAD_GROUP,
    }


def _head_grid(rows: int, heads: Heads) -> tuple[int, int]:
    return rows, -(-(heads.query + heads.key + heads.value) // _HEAD_GROUP)


def rotate(
    hidden_part: Tensor,
    token_part: Tensor,
    tokens: Tensor,
    table: RotaryTable,
    heads: Heads,
    into: HeadTensors,
) -> None:
    unused = into.query if into.query is not None else into.key
    assert unused is not None
    head_kernels.rotate[_head_grid(hidden_part.shape[0], heads)](
        hidden_part,
        token_part,
        tokens,
        table.cos,
        table.sin,
        table.rows,
        unused if into.query is None else into.query,
        table.rows if into.query_rows is None else into.query_rows,
        unused if into.key is None else into.key,
        unused if into.value is None else into.value,
        hidden_part.stride(0),
        token_part.stride(0),
        table.shift,
        SCATTER=into.query_rows is not None,
        num_warps=4,
        **_head_sizes(heads),
    )


def rotate_backward(
    grads: HeadTensors,
    tokens: Tensor,
    table: RotaryTable,
    heads: Heads,
    hidden_grad: Tensor,
    token_grad: Tensor,
) -> None:
    head_kernels.rotate_backward[_head_grid(hidden_grad.shape[0], heads)](
        token_grad if grads.query is None else grads.query,
        table.rows if grads.query_rows is None else grads.query_rows,
        token_grad if grads.own_query is None else grads.own_query,
        token_grad if grads.key is None else grads.key,
        token_grad if grads.value is None else grads.value,
        tokens,
        table.cos,
        table.sin,
        table.rows,
        hidden_grad,
        token_grad,
        token_grad.stride(0),
        table.shift,
        token_grad.shape[0] - 1,
        GATHER=grads.query_rows is not None,
        HAS_OWN=grads.own_query is not None,
        HAS_KEYS=grads.key is not None,
        num_warps=4,
        **_head_sizes(heads),
    )


def _own_sizes(own: OwnKeys, query: Tensor, rows: Tensor | None) -> dict[str, Any]:
    group = query.shape[1] // (own.heads * own.size)
    return {
        "HEADS": own.heads,
        "GROUP": group,
        "GROUP_BLOCK": _block(group),
        "SIZE": own.size,
        "SIZE_BLOCK": _block(own.size),
        "GATHER": rows is not None,
        "num_warps": 2,
    }


def merge_own(query: Tensor, rows: Tensor | None, own: OwnKeys, out: Tensor, total: Tensor) -> None:
    steps, count, _ = own.keys.shape
    head_kernels.merge_own[(count, own.heads)](
        query,
        query if rows is None else rows,
        own.keys,
        own.values,
        out,
        total,
        steps,
        total.stride(0),
        own.keys.stride(0),
        own.size**-0.5,
        **_own_sizes(own, query, rows),
    )


def merge_own_backward(
    grad: Tensor,
    query: Tensor,
    rows: Tensor | None,
    own: OwnKeys,
    out: Tensor,
    total: Tensor,
    grad_rows: Tensor,
    query_grad: Tensor,
) -> None:
    steps, count, _ = own.keys.shape
    head_kernels.merge_own_backward[(count, own.heads)](
        grad,
        query,
        query if rows is None else rows,
        own.keys,
        own.values,
        own.key_grads,
        own.value_grads,
        out,
        total,
        grad_rows,
        query_grad,
        steps,
        total.stride(0),
        own.keys.stride(0),
        own.size**-0.5,
        **_own_sizes(own, query, rows),
    )


def _column_grid(rows: int, width: int) -> tuple[int, int]:
    return rows, -(-width // 2048)


def silu_mul(both: Tensor, out: Tensor) -> None:
    rows, width = out.shape
    norm_kernels.silu_mul[_column_grid(rows, width)](both, out, width, BLOCK=2048, num_warps=4)


def silu_mul_backward(grad: Tensor, both: Tensor) -> None:
    rows, width = grad.shape
    norm_kernels.silu_mul_backward[_column_grid(rows, width)](grad, both, width, BLOCK=2048, num_warps=4)
