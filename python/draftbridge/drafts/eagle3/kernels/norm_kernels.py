"""Triton kernels of RMSNorm and of the MLP's gate: one program per row, arithmetic in fp32."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rms_norm(x, weight, out, scale, x_stride, out_stride, width, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    value = tl.load(x + row * x_stride + columns, mask=inside, other=0.0).to(tl.float32)
    factor = 1.0 / tl.sqrt(tl.sum(value * value, 0) / width + eps)
    unit = (value * factor).to(out.dtype.element_ty).to(tl.float32)
    weights = tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * out_stride + columns, (weights * unit).to(out.dtype.element_ty), mask=inside)
    tl.store(scale + row, factor)


@triton.jit(do_not_specialize=["rows"])
def rms_norm_backward(
    grad, x, scale, weight, partial, residual, out, rows, width, HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr
):
    """Each program takes every n-th row and leaves its part of the weight's gradient in its row of `partial`."""
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    weights = tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for index in range(tl.program_id(0), rows, tl.num_programs(0)):
        at = index * width + columns
        grad_row = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
        factor = tl.load(scale + index)
        unit = tl.load(x + at, mask=inside, other=0.0).to(tl.float32) * factor
        total += grad_row * unit.to(x.dtype.element_ty).to(tl.float32)
        unit_grad = grad_row * weights
        x_grad = (unit_grad - unit * (tl.sum(unit_grad * unit, 0) / width)) * factor
        if HAS_RESIDUAL:
            x_grad += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(out + at, x_grad.to(out.dtype.element_ty), mask=inside)
    tl.store(partial + tl.program_id(0).to(tl.int64) * width + columns, total, mask=inside)


@triton.jit(do_not_specialize=["rows"])
def rms_norm_weight_grad(grad, x, scale, partial, grad_stride, x_stride, rows, width, BLOCK: tl.constexpr):
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    total = tl.zeros((BLOCK,), tl.float32)
    for index in range(tl.program_id(0), rows, tl.num_programs(0)):
        # Rows of a wider matrix: their offsets may need more than 32 bits.
        row = tl.full((), index, tl.int64)
        grad_row = tl.load(grad + row * grad_stride + columns, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(x + row * x_stride + columns, mask=inside, other=0.0).to(tl.float32)
        unit = value * tl.load(scale + index)
        total += grad_row * unit.to(x.dtype.element_ty).to(tl.float32)
    tl.store(partial + tl.program_id(0).to(tl.int64) * width + columns, total, mask=inside)


@triton.jit
def silu_mul(both, out, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < width
    gate = tl.load(both + row * 2 * width + columns, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(both + row * 2 * width + width + columns, mask=inside, other=0.0).to(tl.float32)
    sigmoid = 1.0 / (1.0 + tl.exp(-gate))
    tl.store(out + row * width + columns, (gate * sigmoid * up).to(out.dtype.element_ty), mask=inside)


@triton.jit
def silu_mul_backward(grad, both, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < width
    at = both + row * 2 * width + columns
    gate = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(at + width, mask=inside, other=0.0).to(tl.float32)
    grad_row = tl.load(grad + row * width + columns, mask=inside, other=0.0).to(tl.float32)
    sigmoid = 1.0 / (1.0 + tl.exp(-gate))
    gate_grad = grad_row * up * sigmoid * (1.0 + gate * (1.0 - sigmoid))
    tl.store(at, gate_grad.to(both.dtype.element_ty), mask=inside)
    tl.store(at + width, (grad_row * gate * sigmoid).to(both.dtype.element_ty), mask=inside)
