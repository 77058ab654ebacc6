"""The K steps of training-time test as one function with its own backward (EAGLE-3, arXiv 2503.01840, section 3.2).

It saves work compared with autograd over the plain unroll. Each saving is an identity of real arithmetic:
- a projection of [embedding ; hidden] is the sum of a part that depends on the token alone, computed once for all
  steps, and a part that depends on the hidden state alone;
- attention at every step is one causal kernel over the keys of step 0, merged with the few keys that each row made at
  later steps;
- logits are overwritten by their gradient, in one buffer for all steps;
- the gradient of a matrix that all steps use is one product over the rows of all steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from draftbridge.drafts.eagle3.draft import Draft, DraftConfig
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.objective import Objective, step_sums
from draftbridge.drafts.eagle3.fused.trace import Inputs, Trace
from draftbridge.drafts.eagle3.fused.unroll_backward import backward
from draftbridge.drafts.eagle3.fused.unroll_forward import forward
from draftbridge.drafts.eagle3.fused.weights import trained, unpacked
from draftbridge.drafts.eagle3.kernels.row_kernels import RowKernels


def fused_unroll(
    draft: Draft, inputs: Inputs, objective: Objective, kernels: RowKernels, buffers: Buffers
) -> tuple[Tensor, ...]:
    """A loss with the right gradient but the value zero, and the fields of StepSums, which give its value.

    The backward pass must begin at this loss, with a gradient of one: any factor belongs into the objective's `scale`.
    From this call until its backward pass ends, `buffers` belong to this unroll.
    """
    if len(inputs.plan) == 0:
        return _nothing(draft, objective)
    trace: list[Trace] = []
    # The draft computes in the target's dtype, also if its weights are kept in fp32.
    weights = [weight.to(inputs.embedding.dtype) for weight in trained(draft)]
    loss = _Unroll.apply(trace, draft.config, inputs, objective, kernels, buffers, *weights)  # type: ignore[no-untyped-call]
    done = trace[0]
    return loss, *step_sums(done.stats, done.trained)


@torch.no_grad()
def fused_sums(draft: Draft, inputs: Inputs, kernels: RowKernels, buffers: Buffers) -> tuple[Tensor, ...]:
    """The fields of StepSums, from a forward pass alone. `buffers` are overwritten."""
    if len(inputs.plan) == 0:
        return tuple(step_sums(*_no_rows(draft, inputs.plan.tokens.shape[0])))
    weights = tuple(weight.to(inputs.embedding.dtype) for weight in trained(draft))
    done = forward(draft.config, inputs, None, kernels, buffers, weights)
    return tuple(step_sums(done.stats, done.trained))


def _nothing(draft: Draft, objective: Objective) -> tuple[Tensor, ...]:
    """For a rank without trained rows: it takes part in every collective, and its gradients are zero."""
    stats, none = _no_rows(draft, objective.options.steps)
    for k, total in enumerate(objective.totals(none)):
        objective.weights(k, total, stats[k])
    loss = torch.stack([(p * 0).sum() for p in draft.parameters()]).sum()
    return loss, *step_sums(stats, none)


def _no_rows(draft: Draft, steps: int) -> tuple[Tensor, Tensor]:
    like = draft.fc.weight
    stats = like.new_zeros(steps, 3, 0, dtype=torch.promote_types(like.dtype, torch.float32))
    return stats, stats.new_zeros(steps, 0, dtype=torch.bool)


class _Unroll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        trace: list[Trace],
        config: DraftConfig,
        inputs: Inputs,
        objective: Objective,
        kernels: RowKernels,
        buffers: Buffers,
        *weights: Tensor,
    ) -> Tensor:
        trace.append(forward(config, inputs, objective, kernels, buffers, weights))
        ctx.trace, ctx.config, ctx.kernels, ctx.buffers = trace[0], config, kernels, buffers
        ctx.save_for_backward(*weights)
        return trace[0].stats.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        grads = backward(ctx.trace, ctx.kernels, ctx.buffers)
        del ctx.trace
        return (None,) * 6 + unpacked(ctx.config, grads, ctx.saved_tensors)
