"""The backward pass of the fused unroll: activations step by step, weights once for all steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.causal import causal_backward
from draftbridge.drafts.eagle3.fused.trace import Trace
from draftbridge.drafts.eagle3.fused.weights import Weights
from draftbridge.drafts.eagle3.kernels.row_kernels import HeadTensors, RowKernels


@dataclass
class _Flow:
    """Gradients of activations. Those with a leading K are kept for the gradients of weights."""

    projected: Tensor  # [K,n,W]
    middle: Tensor  # [K,n,H]
    first_keys: Tensor  # [N,Wk] wide
    first_values: Tensor
    by_token: Tensor  # [N+1,W] wide
    hidden_norm: Tensor  # [H] wide
    mlp_norm: Tensor
    attended: Tensor  # [N,Wq] by the attention's output, zero in rows that are not computed


def backward(trace: Trace, kernels: RowKernels, buffers: Buffers) -> Weights:
    """Gradients of all weights, in the packed form."""
    flow = _begin(trace, kernels, buffers)
    later: Tensor | None = None
    for k in reversed(range(trace.steps)):
        if later is not None:
            trace.output_grads[k] += later
        if trace.config.norm_output:
            _final_norm(trace, kernels, k)
        _mlp(trace, kernels, flow, k)
        later = _attention(trace, kernels, flow, k)
    assert later is not None
    return _weights(trace, kernels, flow, later)


def _begin(trace: Trace, kernels: RowKernels, buffers: Buffers) -> _Flow:
    n, total, steps = len(trace.plan), trace.plan.total, trace.steps
    wide, dtype = trace.stats.dtype, trace.first.dtype
    hidden = trace.config.hidden_size
    attended = buffers.take("attended_grad", tuple(trace.attended[0].shape), dtype)
    if trace.plan.rows is not None:
        attended.zero_()
    return _Flow(
        projected=buffers.take("projected_grad", (steps, n, trace.heads.width), dtype),
        middle=buffers.take("middle_grad", (steps, n, hidden), dtype),
        first_keys=buffers.zeros("first_key_grads", tuple(trace.keys.shape), wide),
        first_values=buffers.zeros("first_value_grads", tuple(trace.keys.shape), wide),
        by_token=buffers.zeros("token_grad", (total + 1, trace.heads.width), wide),
        hidden_norm=torch.zeros(hidden, dtype=wide, device=attended.device),
        mlp_norm=torch.zeros(hidden, dtype=wide, device=attended.device),
        attended=attended,
    )


def _final_norm(trace: Trace, kernels: RowKernels, k: int) -> None:
    """Replaces the gradient by step k's normed output by that by the raw one."""
    given, raw, scale = trace.output_grads[k], trace.raw_outputs[k], trace.output_scales[k]
    kernels.rms_norm_backward(given, raw, scale, trace.weights.head_norm, trace.head_norm_grad, None, given)


def _fc_norms(trace: Trace, kernels: RowKernels, first: Tensor) -> tuple[Tensor, ...]:
    """Gradients [H] by the weights of `fc_norm`, from `first` [N,H], the gradient by the fused features."""
    norms = trace.weights.fc_norms
    if not norms:
        return ()
    grads = tuple(torch.zeros(norm.shape, dtype=trace.stats.dtype, device=norm.device) for norm in norms)
    by_input = first @ trace.weights.fc
    states = (whole.chunk(len(norms), 1) for whole in (by_input, trace.aux))
    for by_state, state, scale, grad in zip(*states, trace.aux_scales, grads, strict=True):
        kernels.rms_norm_weight_grad(by_state, state, scale, grad)
    return grads


def _mlp(trace: Trace, kernels: RowKernels, flow: _Flow, k: int) -> None:
    weights, given = trace.weights, trace.output_grads[k]
    by_units = trace.mlp.back(k, given, trace.middle_units[k])
    scale = trace.middle_scales[k]
    kernels.rms_norm_backward(by_units, trace.middle[k], scale, weights.mlp_norm, flow.mlp_norm, given, flow.middle[k])


def _attention(trace: Trace, kernels: RowKernels, flow: _Flow, k: int) -> Tensor:
    """Returns the gradient [n,H] by what went into step k."""
    plan, weights, rows = trace.plan, trace.weights, trace.plan.rows
    query, out, total = trace.queries[k], trace.attended[k], trace.attention_totals[k]
    given = torch.mm(flow.middle[k], weights.out)
    own_query: Tensor | None = None
    if k > 0:
        own_query = torch.empty(given.shape, dtype=trace.stats.dtype, device=given.device)
        kernels.merge_own_backward(given, query, rows, trace.own_until(k), out, total, flow.attended, own_query)
    else:
        flow.attended[slice(None) if rows is None else rows] = given
    by_query, by_key, by_value = causal_backward(
        flow.attended, query, trace.keys, trace.values, out, total, trace.packed
    )
    flow.first_keys += by_key
    flow.first_values += by_value
    grads = HeadTensors(by_query, rows)
    if k > 0:
        grads = replace(grads, key=trace.own.key_grads[k - 1], value=trace.own.value_grads[k - 1], own_query=own_query)
    table = replace(trace.table, shift=k)
    kernels.rotate_backward(grads, plan.tokens[k], table, trace.heads, flow.projected[k], flow.by_token)
    by_units = torch.mm(flow.projected[k], weights.by_hidden)
    by_hidden = torch.empty_like(by_units)
    scale = trace.hidden_scales[k]
    kernels.rms_norm_backward(
        by_units, trace.hidden[k], scale, weights.hidden_norm, flow.hidden_norm, flow.middle[k], by_hidden
    )
    return by_hidden


def _weights(trace: Trace, kernels: RowKernels, flow: _Flow, later: Tensor) -> Weights:
    weights, heads, plan = trace.weights, trace.heads, trace.plan
    queries = heads.query * heads.size
    dtype = weights.fc.dtype
    by_hidden = _flat(flow.projected).T @ _flat(trace.units)
    keys = torch.empty(plan.total, heads.width - queries, dtype=dtype, device=later.device)
    grads = HeadTensors(key=flow.first_keys, value=flow.first_values)
    only = replace(heads, query=0)
    kernels.rotate_backward(grads, plan.first_tokens, trace.first_table, only, keys, flow.by_token[:, queries:])
    by_hidden[queries:] += keys.T @ trace.first_units
    first = torch.empty_like(trace.first)
    by_units = keys @ weights.by_hidden[queries:]
    kernels.rms_norm_backward(
        by_units, trace.first, trace.first_scale, weights.hidden_norm, flow.hidden_norm, None, first
    )
    first[slice(None) if plan.rows is None else plan.rows] += later
    by_token = flow.by_token.to(dtype)
    token_norm = torch.zeros_like(flow.hidden_norm)
    by_gate_up, by_down = trace.mlp.weight_grads(trace.output_grads, trace.middle_units)
    kernels.rms_norm_weight_grad(by_token @ weights.by_token, trace.tokens, trace.token_scale, token_norm)
    return Weights(
        fc=first.T @ trace.fusion_input,
        fc_norms=_fc_norms(trace, kernels, first),
        by_token=by_token.T @ trace.token_units,
        by_hidden=by_hidden,
        out=_flat(flow.middle).T @ _attended(trace),
        gate_up=by_gate_up,
        down=by_down,
        token_norm=token_norm,
        hidden_norm=flow.hidden_norm,
        mlp_norm=flow.mlp_norm,
        head_norm=trace.head_norm_grad,
        head=trace.head_grad,
    )


def _attended(trace: Trace) -> Tensor:
    rows = trace.plan.rows
    return torch.cat([out if rows is None else out[rows] for out in trace.attended])


def _flat(steps: Tensor) -> Tensor:
    return steps.flatten(0, 1)
