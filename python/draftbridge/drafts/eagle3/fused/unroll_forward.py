"""The forward pass of the fused unroll. It fills the trace that the backward pass reads."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from draftbridge.drafts.eagle3.draft import DraftConfig
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.causal import Packed, causal
from draftbridge.drafts.eagle3.fused.mlp import KeptMlp, Mlp, RecomputedMlp
from draftbridge.drafts.eagle3.fused.objective import Objective
from draftbridge.drafts.eagle3.fused.trace import Inputs, Trace
from draftbridge.drafts.eagle3.fused.weights import Weights, packed
from draftbridge.drafts.eagle3.kernels.row_kernels import (
    EntropyRows,
    Heads,
    HeadTensors,
    OwnKeys,
    RotaryTable,
    RowKernels,
)


def forward(
    config: DraftConfig,
    inputs: Inputs,
    objective: Objective | None,
    kernels: RowKernels,
    buffers: Buffers,
    given: tuple[Tensor, ...],
) -> Trace:
    """Without an objective only the losses are computed: no gradient by the logits, and no backward pass may follow."""
    with torch.no_grad():
        trace = _begin(config, inputs, kernels, buffers, packed(config, given), inputs.plan.tokens.shape[0])
        by_token = kernels.matmul_wide(trace.token_units, trace.weights.by_token.T)
        _first_keys(trace, kernels, by_token)
        best = inputs.teacher.best[inputs.plan.targets.clamp(min=0)]
        trace.trained = (inputs.plan.targets >= 0) & (best >= 0)
        totals = None if objective is None else objective.totals(trace.trained)
        logits = buffers.take("logits", (len(inputs.plan), config.draft_vocab_size), trace.first.dtype)
        for k in range(trace.steps):
            _attention(trace, kernels, by_token, k)
            _mlp(trace, kernels, k)
            rows = _entropy_rows(trace, inputs, best[k], k)
            weighing = None if objective is None or totals is None else (objective, totals[k])
            _head(trace, kernels, weighing, logits, rows, k)
    return trace


def _begin(
    config: DraftConfig, inputs: Inputs, kernels: RowKernels, buffers: Buffers, weights: Weights, steps: int
) -> Trace:
    plan, n, total = inputs.plan, len(inputs.plan), inputs.plan.total
    dtype, device = weights.fc.dtype, weights.fc.device
    wide = kernels.wide(dtype)
    heads = Heads(config.num_attention_heads, *(config.num_key_value_heads,) * 2, config.head_dim)
    query_width, key_width = heads.query * heads.size, heads.key * heads.size
    hidden = config.hidden_size

    def take(name: str, *shape: int) -> Tensor:
        return buffers.take(name, shape, dtype)

    ids = torch.cat((inputs.ids, inputs.ids.new_zeros(1)))
    tokens = inputs.embedding[ids].to(dtype)
    token_units = take("token_units", total + 1, hidden)
    token_scale = kernels.rms_norm(tokens, weights.token_norm, config.rms_norm_eps, token_units)
    aux = inputs.aux.to(dtype)
    fusion_input, aux_scales = _normed_states(config, aux, weights, kernels, buffers)
    first = torch.mm(fusion_input, weights.fc.T, out=take("first", total, hidden))
    first_units = take("first_units", total, hidden)
    first_scale = kernels.rms_norm(first, weights.hidden_norm, config.rms_norm_eps, first_units)
    states, units = take("hidden", steps + 1, n, hidden), take("units", steps, n, hidden)
    raw_outputs = take("raw_outputs", steps, n, hidden) if config.norm_output else states[1:]
    at = slice(None) if plan.rows is None else plan.rows
    states[0], units[0] = first[at], first_units[at]
    queries = take("queries", steps, total, query_width)
    if plan.rows is not None:
        # The causal kernel also reads rows that are not computed: they must be finite.
        queries.zero_()
    cos, sin = _rotary(config, plan.longest + steps, wide, device)
    own_shape = (steps - 1, n, key_width)
    return Trace(
        config=config,
        plan=plan,
        weights=weights,
        fusion_input=fusion_input,
        aux=aux,
        aux_scales=aux_scales,
        heads=heads,
        packed=Packed(plan.bounds, plan.longest, heads.size),
        table=RotaryTable(cos, sin, plan.positions, 0),
        first_table=RotaryTable(cos, sin, plan.every_position, 0),
        tokens=tokens,
        token_scale=token_scale,
        token_units=token_units,
        first=first,
        first_scale=first_scale,
        first_units=first_units,
        keys=take("keys", total, key_width),
        values=take("values", total, key_width),
        own=OwnKeys(
            take("own_keys", *own_shape),
            take("own_values", *own_shape),
            buffers.zeros("own_key_grads", own_shape, wide),
            buffers.zeros("own_value_grads", own_shape, wide),
            heads.key,
            heads.size,
        ),
        hidden=states,
        raw_outputs=raw_outputs,
        output_scales=[],
        hidden_scales=[first_scale[at]],
        units=units,
        queries=queries,
        attended=[],
        attention_totals=[],
        middle=take("middle", steps, n, hidden),
        middle_scales=[],
        middle_units=take("middle_units", steps, n, hidden),
        mlp=_mlp_of(inputs, kernels, buffers, weights, steps),
        output_grads=take("output_grads", steps, n, hidden),
        # Not from `buffers`: autograd may hand this tensor out as the parameter's gradient.
        head_grad=torch.zeros(config.draft_vocab_size, hidden, dtype=wide, device=device),
        head_norm_grad=torch.zeros(hidden, dtype=wide, device=device),
        stats=torch.zeros(steps, 3, n, dtype=wide, device=device),
        trained=torch.empty(0, dtype=torch.bool, device=device),
    )


def _normed_states(
    config: DraftConfig, aux: Tensor, weights: Weights, kernels: RowKernels, buffers: Buffers
) -> tuple[Tensor, list[Tensor]]:
    """`fc_norm`: the auxiliary states [N,3H], each after its norm, and the norms' scales. Off: `aux` itself."""
    if not weights.fc_norms:
        return aux, []
    units = buffers.take("aux_units", tuple(aux.shape), aux.dtype)
    parts = zip(*(whole.chunk(len(weights.fc_norms), 1) for whole in (aux, units)), weights.fc_norms, strict=True)
    return units, [kernels.rms_norm(state, weight, config.rms_norm_eps, unit) for state, unit, weight in parts]


def _mlp_of(inputs: Inputs, kernels: RowKernels, buffers: Buffers, weights: Weights, steps: int) -> Mlp:
    rows = len(inputs.plan)
    if inputs.recompute:
        return RecomputedMlp(kernels, weights, buffers, rows)
    return KeptMlp(kernels, weights, buffers, steps, rows)


def _rotary(config: DraftConfig, length: int, wide: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """[length, size / 2]: half of `draft.rope_tables`, whose halves are equal."""
    exponents = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float32) / config.head_dim
    angles = torch.arange(length, device=device)[:, None].float() * (1.0 / config.rope_theta**exponents)
    return angles.cos().to(wide), angles.sin().to(wide)


def _first_keys(trace: Trace, kernels: RowKernels, by_token: Tensor) -> None:
    heads = trace.heads
    queries = heads.query * heads.size
    hidden_part = kernels.matmul_wide(trace.first_units, trace.weights.by_hidden[queries:].T)
    kernels.rotate(
        hidden_part,
        by_token[:, queries:],
        trace.plan.first_tokens,
        trace.first_table,
        replace(heads, query=0),
        HeadTensors(key=trace.keys, value=trace.values),
    )


def _attention(trace: Trace, kernels: RowKernels, by_token: Tensor, k: int) -> None:
    heads, plan, weights, table = trace.heads, trace.plan, trace.weights, replace(trace.table, shift=k)
    if k == 0:
        queries = heads.query * heads.size
        hidden_part = kernels.matmul_wide(trace.units[0], weights.by_hidden[:queries].T)
        only, into = replace(heads, key=0, value=0), HeadTensors(trace.queries[0], plan.rows)
        kernels.rotate(hidden_part, by_token[:, :queries], plan.tokens[0], table, only, into)
    else:
        scale = kernels.rms_norm(trace.hidden[k], weights.hidden_norm, trace.config.rms_norm_eps, trace.units[k])
        trace.hidden_scales.append(scale)
        hidden_part = kernels.matmul_wide(trace.units[k], weights.by_hidden.T)
        into = HeadTensors(trace.queries[k], plan.rows, trace.own.keys[k - 1], trace.own.values[k - 1])
        kernels.rotate(hidden_part, by_token, plan.tokens[k], table, heads, into)
    out, total = causal(trace.queries[k], trace.keys, trace.values, trace.packed)
    if k > 0:
        kernels.merge_own(trace.queries[k], plan.rows, trace.own_until(k), out, total)
    trace.attended.append(out)
    trace.attention_totals.append(total)


def _mlp(trace: Trace, kernels: RowKernels, k: int) -> None:
    weights, plan = trace.weights, trace.plan
    attended = trace.attended[k] if plan.rows is None else trace.attended[k][plan.rows]
    torch.addmm(trace.hidden[k], attended, weights.out.T, out=trace.middle[k])
    scale = kernels.rms_norm(trace.middle[k], weights.mlp_norm, trace.config.rms_norm_eps, trace.middle_units[k])
    trace.middle_scales.append(scale)
    trace.mlp.run(k, trace.middle_units[k], trace.middle[k], trace.raw_outputs[k])


def _entropy_rows(trace: Trace, inputs: Inputs, best: Tensor, k: int) -> EntropyRows:
    teacher, stats = inputs.teacher, trace.stats[k]
    return EntropyRows(
        teacher=teacher.logits,
        draft_logsumexp=teacher.draft_logsumexp,
        teacher_logsumexp=teacher.logsumexp,
        index=inputs.plan.targets[k],
        trained=trace.trained[k],
        best=best,
        stats=stats,
        total=torch.empty_like(stats[0]),
        lesser=torch.empty_like(stats[0]),
    )


def _head(
    trace: Trace,
    kernels: RowKernels,
    weighing: tuple[Objective, Tensor] | None,
    logits: Tensor,
    rows: EntropyRows,
    k: int,
) -> None:
    """The loss of step k. With an objective also its gradient by the step's output, and its part of the head's."""
    weights, raw = trace.weights, trace.raw_outputs[k]
    norm_output = trace.config.norm_output
    units = trace.hidden[k + 1] if norm_output else torch.empty_like(raw)
    scale = kernels.rms_norm(raw, weights.head_norm, trace.config.rms_norm_eps, units)
    trace.output_scales.append(scale)
    torch.mm(units, weights.head.T, out=logits)
    if weighing is None:
        kernels.entropy(logits, rows)
        return
    objective, total = weighing
    if objective.known_before_logits:
        kernels.entropy(logits, rows, objective.weights(k, total, rows.stats)[0])
    else:
        kernels.entropy(logits, rows)
        kernels.entropy_grad(logits, rows, *objective.weights(k, total, rows.stats))
    kernels.accumulate(trace.head_grad, logits.T, units)
    if norm_output:
        # The gradient by the normed output. The next step adds its own before both go through the norm.
        torch.mm(logits, weights.head, out=trace.output_grads[k])
        return
    by_units = torch.mm(logits, weights.head)
    kernels.rms_norm_backward(
        by_units, raw, scale, weights.head_norm, trace.head_norm_grad, None, trace.output_grads[k]
    )
