"""Tau of greedy chain decoding over answers that the target has written already, from one forward pass of the unroll.

The target's greedy answer does not depend on the draft. So the draft's guesses at every position can be found at once:
as long as its guesses are right, the tokens that it feeds itself are those of the answer, which is what the unroll
feeds it. A walk over the answer then counts passes as `ChainDecoder` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from draftbridge.drafts.eagle3.draft import Draft
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.plan import plan_fused
from draftbridge.drafts.eagle3.fused.trace import Inputs
from draftbridge.drafts.eagle3.fused.unroll_forward import forward
from draftbridge.drafts.eagle3.fused.weights import trained
from draftbridge.drafts.eagle3.kernels.row_kernels import RowKernels
from draftbridge.drafts.eagle3.teacher import TeacherLogits
from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """A prompt with the target's greedy answer. `ids` int64 [n] on the CPU; the answer begins at `start`."""

    ids: Tensor
    start: int
    aux: Tensor  # [n,3H]


@torch.no_grad()
def right_guesses(
    draft: Draft,
    embedding: Tensor,
    draft_ids: Tensor,
    answers: Sequence[Answer],
    steps: int,
    kernels: RowKernels,
    buffers: Buffers,
) -> list[Tensor]:
    """For each answer bool [steps, n]: at row t and step k, is the draft's likeliest token ids[t + k + 2]."""
    lengths = [answer.ids.numel() for answer in answers]
    ids = torch.cat([answer.ids for answer in answers])
    plan = plan_fused(torch.ones_like(ids), lengths, steps, compact=False)
    # The token that follows position j is what the target's head says there. Nothing follows the last position.
    following = torch.cat([torch.cat((answer.ids[1:], answer.ids.new_tensor([-1]))) for answer in answers])
    to_draft = torch.full((embedding.shape[0] + 1,), -1, dtype=torch.int64)
    to_draft[draft_ids] = torch.arange(draft_ids.numel())
    best = to_draft[following][plan.wanted].to(embedding.device)
    nothing = embedding.new_zeros(best.numel(), dtype=kernels.wide(embedding.dtype))
    teacher = TeacherLogits(embedding.new_zeros(best.numel(), draft_ids.numel()), nothing, nothing, best)
    aux = torch.cat([answer.aux for answer in answers]).to(embedding.device)
    inputs = Inputs(embedding, ids.to(embedding.device), aux, plan.to(embedding.device), teacher)
    weights = tuple(weight.to(embedding.dtype) for weight in trained(draft))
    trace = forward(draft.config, inputs, None, kernels, buffers, weights)
    return list(torch.split((trace.stats[:, 2] > 0).cpu(), lengths, 1))


def count_passes(right: Tensor, answer: Answer, steps: int, most: int) -> tuple[int, int]:
    """Tokens and passes of decoding at most `most` tokens of `answer`; the first token comes from the prefill."""
    length = min(most, answer.ids.numel() - answer.start)
    output, passes = 1, 0
    while output < length:
        row = answer.start + output - 2
        drafted = min(steps, most - output - 1)
        agreed = 0
        while agreed < drafted and bool(right[agreed, row]):
            agreed += 1
        output = min(output + agreed + 1, length)
        passes += 1
    return output - 1, passes
