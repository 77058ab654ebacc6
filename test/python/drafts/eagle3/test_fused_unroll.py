"""The fused unroll equals the plain one: sums and every gradient, in fp64, for every loss and shape of batch."""

from __future__ import annotations

import pytest
import torch
from draftbridge.bridge.handles import TensorDict
from draftbridge.drafts.eagle3.draft import Draft
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.objective import Objective
from draftbridge.drafts.eagle3.fused.plan import plan_fused
from draftbridge.drafts.eagle3.fused.trace import Inputs
from draftbridge.drafts.eagle3.fused.unroll import fused_unroll
from draftbridge.drafts.eagle3.kernels import torch_rows
from draftbridge.drafts.eagle3.row_plan import plan_rows
from draftbridge.drafts.eagle3.ttt_loss import StepSums, decayed, ploss_shares, unroll
from draftbridge.settings.train_settings import TttSettings
from small_case import CONFIG, MASKS, SmallCase, batch_of, ttt_settings
from torch import Tensor

torch.set_num_threads(1)

SETTINGS = [
    ttt_settings(steps=4),
    ttt_settings(steps=1),
    ttt_settings(steps=3, reduction="masked", decay=0.5),
    ttt_settings(steps=3, mask_offset=1),
    ttt_settings(steps=3, mask_offset=2, reduction="masked"),
    ttt_settings(steps=3, loss="lk-alpha"),
    ttt_settings(steps=3, loss="lk-lambda", kl_scale=0.7, kl_decay=3.0),
    ttt_settings(steps=3, loss="lk-lambda", reduction="masked"),
]
# Mostly rows without a loss, so that rows are left out; a loss in all rows, so that none is; one token.
BATCHES = {
    "mixed": MASKS,
    "long prompt": ([0] * 40 + [1] * 6, [0] * 9 + [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
    "all live": ([1] * 30, [1] * 50),
    "tiny": ([1], [0, 1, 1]),
}
POSITIONS = 50


def plain(case: SmallCase, draft: Draft, samples: list[TensorDict], ttt: TttSettings) -> tuple[StepSums, list[Tensor]]:
    batch = batch_of(*samples)
    plan = plan_rows(batch.loss_mask, batch.lengths, ttt.steps, ttt.mask_offset)
    targets = case.teacher()(batch.states["hidden_state"][plan.targets])
    sums = unroll(draft, case.embedding, batch.input_ids, batch.states["aux_hidden_state"], plan, targets)
    shares = ploss_shares(sums, ttt, POSITIONS, sums.trained, sums.overlap.detach())
    return sums, gradients(draft, decayed(shares, ttt.decay))


def fused(
    case: SmallCase,
    draft: Draft,
    samples: list[TensorDict],
    ttt: TttSettings,
    buffers: Buffers,
    scale: float = 1.0,
    compact: bool = True,
    recompute: bool = False,
) -> tuple[StepSums, list[Tensor]]:
    batch = batch_of(*samples)
    plan = plan_fused(batch.loss_mask, batch.lengths, ttt.steps, ttt.mask_offset, compact)
    teacher = case.teacher().logits(batch.states["hidden_state"][plan.wanted])
    inputs = Inputs(case.embedding, batch.input_ids, batch.states["aux_hidden_state"], plan, teacher, recompute)
    objective = Objective(ttt, POSITIONS, scale, lambda total: total)
    loss, *sums = fused_unroll(draft, inputs, objective, torch_rows, buffers)
    return StepSums(*sums), gradients(draft, loss)


def gradients(draft: Draft, loss: Tensor) -> list[Tensor]:
    draft.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in draft.parameters()]


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("ttt", SETTINGS, ids=lambda t: f"{t.steps}-{t.loss}-{t.reduction}-{t.mask_offset}")
def test_equals_the_plain_unroll(ttt: TttSettings, batch: str) -> None:
    case = SmallCase()
    draft = case.draft()
    buffers = Buffers(torch.device("cpu"))
    # Twice, the second batch smaller: the old content of the buffers must not matter.
    for masks in (BATCHES[batch], BATCHES[batch][:1]):
        samples = [case.sample(mask) for mask in masks]
        expected, wanted = plain(case, draft, samples, ttt)
        found, gradient = fused(case, draft, samples, ttt, buffers)
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, theirs.detach().to(mine.dtype), rtol=1e-11, atol=1e-11)
        for mine, theirs, (name, _) in zip(gradient, wanted, draft.named_parameters(), strict=True):
            torch.testing.assert_close(
                mine, theirs, rtol=1e-10, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_rows_without_a_loss_are_left_out_and_this_changes_nothing() -> None:
    case = SmallCase()
    draft = case.draft()
    samples = [case.sample(mask) for mask in BATCHES["long prompt"]]
    batch = batch_of(*samples)
    lean, whole = (plan_fused(batch.loss_mask, batch.lengths, 4, 0, compact) for compact in (True, False))
    assert len(lean) < len(whole) / 2
    buffers = Buffers(torch.device("cpu"))
    (found, mine), (expected, theirs) = (
        fused(case, draft, samples, ttt_settings(steps=4), buffers, compact=compact) for compact in (True, False)
    )
    for pair in zip([*found, *mine], [*expected, *theirs], strict=True):
        torch.testing.assert_close(*pair, rtol=1e-10, atol=1e-12)


def test_recomputing_activations_changes_nothing_and_needs_less_memory() -> None:
    case = SmallCase()
    draft = case.draft()
    samples = [case.sample(mask) for mask in BATCHES["all live"]]
    buffers = [Buffers(torch.device("cpu")) for _ in range(2)]
    (found, mine), (expected, theirs) = (
        fused(case, draft, samples, ttt_settings(steps=4), each, recompute=again)
        for each, again in zip(buffers, (True, False), strict=True)
    )
    for pair in zip([*found, *mine], [*expected, *theirs], strict=True):
        torch.testing.assert_close(*pair, rtol=1e-12, atol=1e-12)
    rows, steps, width, size = 80, 4, CONFIG.intermediate_size, 8
    assert buffers[1].bytes - buffers[0].bytes == (steps - 1) * rows * 3 * width * size


def test_the_scale_is_in_all_gradients() -> None:
    case = SmallCase()
    draft = case.draft()
    samples = [case.sample(mask) for mask in MASKS]
    buffers = Buffers(torch.device("cpu"))
    for ttt in SETTINGS[:7]:
        once, thrice = (fused(case, draft, samples, ttt, buffers, scale)[1] for scale in (1.0, 3.0))
        for one, three in zip(once, thrice, strict=True):
            assert one.abs().max() > 0
            torch.testing.assert_close(one * 3, three, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ttt", SETTINGS, ids=lambda t: f"{t.steps}-{t.loss}-{t.reduction}-{t.mask_offset}")
def test_a_rank_without_rows_takes_part_in_every_collective(ttt: TttSettings) -> None:
    case = SmallCase()
    draft = case.draft()
    collectives = []
    for masks in ([[0] * 6], MASKS):
        batch = batch_of(*(case.sample(list(mask)) for mask in masks))
        plan = plan_fused(batch.loss_mask, batch.lengths, ttt.steps, ttt.mask_offset)
        teacher = case.teacher().logits(batch.states["hidden_state"][plan.wanted])
        shapes: list[torch.Size] = []

        def sum_ranks(total: Tensor, shapes: list[torch.Size] = shapes) -> Tensor:
            shapes.append(total.shape)
            return total

        inputs = Inputs(case.embedding, batch.input_ids, batch.states["aux_hidden_state"], plan, teacher)
        objective = Objective(ttt, POSITIONS, 1.0, sum_ranks)
        loss, *_ = fused_unroll(draft, inputs, objective, torch_rows, Buffers(torch.device("cpu")))
        collectives.append(shapes)
        if len(collectives) == 1:
            assert all(grad.abs().max() == 0 for grad in gradients(draft, loss))
    assert collectives[0] == collectives[1]


def test_buffers_are_allocated_once_for_the_largest_batch() -> None:
    buffers = Buffers(torch.device("cpu"))
    large = buffers.take("a", (3, 5), torch.float32)
    small = buffers.take("a", (2, 4), torch.float32)
    assert small.data_ptr() == large.data_ptr()
    assert buffers.bytes == 60
    assert buffers.take("a", (4, 5), torch.float32).shape == (4, 5)
    assert buffers.bytes == 80
