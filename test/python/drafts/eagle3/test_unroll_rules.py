"""Rules of the unroll that need no model: which keys a row sees, what positions mean, where the norm belongs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from draftbridge.drafts.eagle3.attention import OwnKeyValues, attend
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.causal import Packed, causal, causal_backward
from draftbridge.drafts.eagle3.fused.objective import Objective
from draftbridge.drafts.eagle3.fused.plan import FusedPlan, plan_fused
from draftbridge.drafts.eagle3.fused.trace import Inputs
from draftbridge.drafts.eagle3.fused.unroll import fused_unroll
from draftbridge.drafts.eagle3.kernels import torch_rows
from draftbridge.drafts.eagle3.kernels.row_kernels import OwnKeys
from draftbridge.drafts.eagle3.row_plan import Piece
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.settings.train_settings import OptimizerSettings
from draftbridge.target.final_norm import FinalNorm
from draftbridge.training.optimizer import Optimizer, rate
from small_case import CONFIG, MASKS, SmallCase, batch_of, ttt_settings
from torch import Tensor

HEADS, KEY_HEADS, SIZE = 4, 2, 6


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def dense(query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    """Attention of T rows over the keys of all steps at once, by the mask [lower triangle | I | ...] written out."""
    rows, steps = query.shape[0], len(keys)
    seen = torch.zeros(rows, steps * rows, dtype=torch.bool)
    for row in range(rows):
        for column in range(steps * rows):
            step, key = divmod(column, rows)
            seen[row, column] = key <= row if step == 0 else key == row
    spread = HEADS // KEY_HEADS
    key, value = (torch.cat(parts).repeat_interleave(spread, 1) for parts in (keys, values))
    scores = torch.einsum("qhd,khd->hqk", query, key) * SIZE**-0.5
    weights = torch.softmax(scores.masked_fill(~seen, -torch.inf), -1)
    return torch.einsum("hqk,khd->qhd", weights, value).flatten(1)


@pytest.mark.parametrize("rows", [1, 5, 16])
@pytest.mark.parametrize("step", [0, 1, 6])
def test_a_row_sees_the_keys_of_step_0_up_to_itself_and_its_own_of_each_later_step(rows: int, step: int) -> None:
    torch.manual_seed(rows + step)
    query = random(rows, HEADS, SIZE).requires_grad_()
    keys, values = ([random(rows, KEY_HEADS, SIZE).requires_grad_() for _ in range(step + 1)] for _ in range(2))
    leaves, grad = [query, *keys, *values], random(rows, HEADS * SIZE)
    expected = dense(query, keys, values)
    wanted = torch.autograd.grad(expected, leaves, grad)

    def first(part: Tensor) -> Tensor:
        return part.transpose(0, 1)

    later = [torch.stack([first(part) for part in parts[1:]], 2) for parts in (keys, values)] if step else None
    own = None if later is None else OwnKeyValues(*later)
    whole = (Piece(0, rows, 0, rows),)
    plain = attend(first(query), first(keys[0]), first(values[0]), own, torch.arange(rows), whole)
    torch.testing.assert_close(plain, expected)
    for found, right in zip(torch.autograd.grad(plain, leaves, grad), wanted, strict=True):
        torch.testing.assert_close(found, right)

    with torch.no_grad():
        out, gradients = merged(query, keys, values, grad)
    torch.testing.assert_close(out, expected.detach())
    for found, right in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(found, right.flatten(1))


def merged(query: Tensor, keys: list[Tensor], values: list[Tensor], grad: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The fused way: a causal kernel, joined with the rows' own keys."""
    rows = query.shape[0]
    flat, key, value = query.flatten(1), keys[0].flatten(1), values[0].flatten(1)
    packed = Packed(torch.tensor([0, rows], dtype=torch.int32), rows, SIZE)
    out, total = causal(flat, key, value, packed)
    shape = (len(keys) - 1, rows, KEY_HEADS * SIZE)
    own_keys, own_values = (torch.cat([part.flatten(1) for part in parts]) for parts in (keys, values))
    own = OwnKeys(
        *(part[rows:].view(shape) for part in (own_keys, own_values)),
        *(torch.zeros(shape, dtype=query.dtype) for _ in range(2)),
        KEY_HEADS,
        SIZE,
    )
    torch_rows.merge_own(flat, None, own, out, total)
    spread, by_own = torch.empty_like(flat), torch.empty_like(flat)
    torch_rows.merge_own_backward(grad, flat, None, own, out, total, spread, by_own)
    by_query, by_key, by_value = causal_backward(spread, flat, key, value, out, total, packed)
    return out, [by_query + by_own, by_key, *own.key_grads, by_value, *own.value_grads]


def sums_of(case: SmallCase, plan: FusedPlan, ids: Tensor, aux: Tensor, hidden: Tensor) -> list[Tensor]:
    inputs = Inputs(case.embedding, ids, aux, plan, case.teacher().logits(hidden[plan.wanted]))
    objective = Objective(ttt_settings(steps=4), 22, 1.0, lambda total: total)
    return list(fused_unroll(case.draft(), inputs, objective, torch_rows, Buffers(torch.device("cpu")))[1:])


def test_only_differences_of_positions_matter() -> None:
    case = SmallCase()
    batch = batch_of(*(case.sample(mask) for mask in MASKS))
    plan = plan_fused(batch.loss_mask, batch.lengths, 4)
    moved = replace(
        plan, positions=plan.positions + 9, every_position=plan.every_position + 9, longest=plan.longest + 9
    )
    wrong = replace(plan, positions=plan.positions + 9, longest=plan.longest + 9)
    given = (batch.input_ids, batch.states["aux_hidden_state"], batch.states["hidden_state"])
    found, same, other = (sums_of(case, each, *given) for each in (plan, moved, wrong))
    for one, two in zip(found, same, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(found[0], other[0], rtol=1e-3)


@pytest.mark.parametrize("stored", ["post", "pre"])
def test_features_taken_before_and_after_the_final_norm_train_alike_and_the_wrong_flag_does_not(stored: str) -> None:
    case = SmallCase()
    weight = case.random(CONFIG.hidden_size).abs() + 0.5
    norm = FinalNorm("rms", 1e-6, weight)
    before = case.random(9, CONFIG.hidden_size) * 4
    after = norm(before)
    hidden = before if stored == "pre" else after
    right, wrong = (
        Teacher(case.head, case.vocabulary.ids, norm if flag == "pre" else None)(hidden)
        for flag in (stored, "post" if stored == "pre" else "pre")
    )
    truth = torch.softmax((after @ case.head.T)[:, case.vocabulary.ids], -1)
    torch.testing.assert_close(right.probs, truth)
    assert float((wrong.probs - truth).abs().max()) > 0.05


def test_fifty_optimiser_steps_are_those_of_the_textbook() -> None:
    """AdamW (Loshchilov and Hutter, algorithm 2) with a clipped gradient, in fp64 by hand, against ours in fp32."""
    torch.manual_seed(2)
    options = OptimizerSettings(
        lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1, clip=0.5, warmup_ratio=0.1, schedule="cosine"
    )
    mine = {"a": torch.randn(7, 5), "b": torch.randn(3)}
    theirs = {name: value.double() for name, value in mine.items()}
    optimizer = Optimizer(mine, options, 50)
    moments = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in theirs.items()}
    for step in range(50):
        gradients = {name: torch.randn(value.shape) * (3 if step % 2 else 0.1) for name, value in mine.items()}
        norm = torch.stack([g.double().square().sum() for g in gradients.values()]).sum().sqrt()
        factor = min(1.0, options.clip / (float(norm) + 1e-6))
        for name, weight in theirs.items():
            gradient = gradients[name].double() * factor
            first, second = moments[name]
            first.mul_(0.9).add_(gradient, alpha=0.1)
            second.mul_(0.95).addcmul_(gradient, gradient, value=0.05)
            weight.mul_(1 - rate(options, 50, step) * 0.1)
            corrected = (second / (1 - 0.95 ** (step + 1))).sqrt() + 1e-8
            weight.addcdiv_(first / (1 - 0.9 ** (step + 1)), corrected, value=-rate(options, 50, step))
        optimizer.step(gradients, norm, torch.tensor(False), step)
    for name, weight in theirs.items():
        torch.testing.assert_close(mine[name].detach().double(), weight, rtol=2e-6, atol=2e-6)


def test_a_step_that_is_broken_changes_no_weight_and_no_moment() -> None:
    options = OptimizerSettings(1e-2, (0.9, 0.999), 0.0, 0.5, 0.0, "constant")
    weights = {"a": torch.ones(4)}
    optimizer = Optimizer(weights, options, 10)
    good, bad = torch.ones(4), torch.full((4,), torch.nan)
    optimizer.step({"a": good.clone()}, torch.tensor(2.0), torch.tensor(False), 0)
    before = weights["a"].detach().clone(), *(moment.clone() for moment in optimizer.moments("a"))
    optimizer.step({"a": bad}, torch.tensor(torch.nan), torch.tensor(True), 1)
    after = weights["a"].detach(), *optimizer.moments("a")
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    optimizer.step({"a": good.clone()}, torch.tensor(2.0), torch.tensor(False), 1)
    assert not torch.equal(before[0], weights["a"])
