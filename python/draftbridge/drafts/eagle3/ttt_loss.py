"""Training-time test: the draft runs K steps on its own hidden states, and each step is compared with the target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from draftbridge.drafts.eagle3.attention import OwnKeyValues, attend
from draftbridge.drafts.eagle3.draft import Draft
from draftbridge.drafts.eagle3.row_plan import RowPlan, StepRows
from draftbridge.drafts.eagle3.teacher import Targets
from draftbridge.drafts.step_sums import StepSums
from draftbridge.settings.train_settings import TttSettings


class Overlap(torch.autograd.Function):
    """logits [n,Vd] against targets -> cross entropy [n] and overlap [n]; keeps only the softmax of the logits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, probs: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
        wide = logits.to(probs.dtype)
        total = torch.logsumexp(wide, -1)
        cross_entropy = total - (probs * wide).sum(-1)
        q = torch.exp(wide - total[:, None])
        overlap = torch.minimum(q, probs * mass[:, None]).sum(-1)
        ctx.save_for_backward(q, probs, mass)
        ctx.dtype = logits.dtype
        ctx.set_materialize_grads(False)
        return cross_entropy, overlap

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_entropy: Tensor | None, by_overlap: Tensor | None) -> tuple[Tensor, None, None]:
        q, probs, mass = ctx.saved_tensors
        grad = torch.zeros_like(q) if by_entropy is None else (q - probs).mul_(by_entropy[:, None])
        if by_overlap is not None:
            # min(P, q) depends on q only where q is smaller.
            lesser = torch.where(q < probs * mass[:, None], q, 0.0)
            grad += (lesser - q * lesser.sum(-1, keepdim=True)) * by_overlap[:, None]
        return grad.to(ctx.dtype), None, None


def unroll(draft: Draft, embedding: Tensor, ids: Tensor, aux: Tensor, plan: RowPlan, targets: Targets) -> StepSums:
    """Run all steps of `plan` over samples that are joined end to end.

    `embedding` [V,H]; `ids` int64 [N]; `aux` [N,3H], low, mid, high. Every parameter gets a gradient, zero if no row
    has a loss: ranks that reduce gradients together must all have the same set.
    """
    dtype = draft.fc.weight.dtype
    ids = torch.cat((ids, ids.new_zeros(1)))
    hidden = draft.fuse(aux.to(dtype))
    mixed = draft.mix(embedding[ids[plan.tokens]].to(dtype), hidden)
    first = draft.key_value(mixed[None], plan.positions[None])
    keys, values = first[0][0], first[1][0]
    own: OwnKeyValues | None = None
    sums: list[tuple[Tensor, ...]] = []
    for k, step in enumerate(plan.steps):
        if k == 0:
            hidden, mixed = hidden[step.rows], mixed[step.rows]
        else:
            hidden, own = _kept(hidden, own, step)
            mixed = draft.mix(embedding[ids[step.tokens]].to(dtype), hidden)
            own = _extended(own, *draft.key_value(mixed[None], (step.positions + k)[None]))
        query = draft.query(mixed[None], (step.positions + k)[None])[0]
        hidden = draft.finish(hidden, attend(query, keys, values, own, step.positions, step.pieces))
        sums.append(_step_sums(draft, hidden, step, targets))
    stacked = StepSums(*(torch.stack(column) for column in zip(*sums, strict=True)))
    if plan.targets.numel() == 0:
        zero = sum(((p * 0).sum() for p in draft.parameters()), torch.zeros((), device=ids.device))
        tied = {name: getattr(stacked, name) + zero for name in ("cross_entropy", "overlap", "log_overlap")}
        return stacked._replace(**tied)
    return stacked


def _kept(hidden: Tensor, own: OwnKeyValues | None, step: StepRows) -> tuple[Tensor, OwnKeyValues | None]:
    if step.keep is None:
        return hidden, own
    keep = step.keep
    return hidden[keep], None if own is None else OwnKeyValues(own.keys[:, keep], own.values[:, keep])


def _extended(own: OwnKeyValues | None, keys: Tensor, values: Tensor) -> OwnKeyValues:
    new = OwnKeyValues(keys[0].unsqueeze(2), values[0].unsqueeze(2))
    if own is None:
        return new
    return OwnKeyValues(torch.cat((own.keys, new.keys), 2), torch.cat((own.values, new.values), 2))


def _step_sums(draft: Draft, hidden: Tensor, step: StepRows, targets: Targets) -> tuple[Tensor, ...]:
    logits = draft.logits(hidden[step.live])
    best = targets.best[step.targets]
    trained = best >= 0
    given = (logits, targets.probs[step.targets], targets.mass[step.targets])
    entropy, overlap = Overlap.apply(*given)  # type: ignore[no-untyped-call]
    log_overlap = torch.log(torch.where(trained & (overlap > 0), overlap, 1.0))
    hits = logits.detach().argmax(-1) == best
    return (
        torch.where(trained, entropy, 0.0).sum(),
        torch.where(trained, overlap, 0.0).sum(),
        log_overlap.sum(),
        trained.sum(),
        hits.sum(),
    )


def ploss_shares(sums: StepSums, settings: TttSettings, positions: int, trained: Tensor, overlap: Tensor) -> Tensor:
    """This rank's shares [K] of the per-step losses; over all ranks they add up to the losses.

    `positions`: of the micro-step over all ranks. `trained`, `overlap` [K]: those sums over all ranks, detached.
    """
    rows = trained.clamp(min=1)
    entropy = sums.cross_entropy / (positions if settings.reduction == "all" else rows)
    if settings.loss == "ce":
        return entropy
    if settings.loss == "lk-alpha":
        return -sums.log_overlap / rows
    weight = settings.kl_scale * torch.exp(-settings.kl_decay * overlap / rows)
    return weight * entropy + (1 - weight) * (sums.trained - sums.overlap) / rows


def decayed(shares: Tensor, decay: float) -> Tensor:
    """sum_k decay^k * shares[k]."""
    return (shares * decay ** torch.arange(shares.numel(), device=shares.device, dtype=shares.dtype)).sum()
