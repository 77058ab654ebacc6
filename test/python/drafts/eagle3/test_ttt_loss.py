"""The unrolled loss against brute force, in fp64."""

from __future__ import annotations

import pytest
import torch
from chain_oracle import ChainOracle
from draftbridge.bridge.handles import TensorDict
from draftbridge.drafts.eagle3 import attention, row_plan
from draftbridge.drafts.eagle3.draft import Draft
from draftbridge.drafts.eagle3.row_plan import plan_rows
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.drafts.eagle3.ttt_loss import StepSums, decayed, ploss_shares, unroll
from draftbridge.settings.train_settings import TttSettings
from draftbridge.target.final_norm import FinalNorm
from draftbridge.target.logit_finish import LogitFinish
from small_case import MASKS, SmallCase, batch_of, ttt_settings
from torch import Tensor

# These tensors are far too small to share among threads.
torch.set_num_threads(1)

SETTINGS = [
    ttt_settings(steps=4),
    ttt_settings(steps=3, reduction="masked", decay=0.5),
    ttt_settings(steps=3, mask_offset=1),
    ttt_settings(steps=3, mask_offset=2, reduction="masked"),
    ttt_settings(steps=3, loss="lk-alpha"),
    ttt_settings(steps=3, loss="lk-lambda", kl_scale=0.7, kl_decay=3.0),
]


def run(case: SmallCase, draft: Draft, samples: list[TensorDict], ttt: TttSettings, compact: bool = True) -> StepSums:
    batch = batch_of(*samples)
    plan = plan_rows(batch.loss_mask, batch.lengths, ttt.steps, ttt.mask_offset, compact)
    targets = case.teacher()(batch.states["hidden_state"][plan.targets])
    return draft(
        lambda whole: unroll(whole, case.embedding, batch.input_ids, batch.states["aux_hidden_state"], plan, targets)
    )


def loss_of(sums: StepSums, ttt: TttSettings, positions: int) -> Tensor:
    return decayed(ploss_shares(sums, ttt, positions, sums.trained, sums.overlap.detach()), ttt.decay)


def gradients(draft: Draft, loss: Tensor) -> dict[str, Tensor]:
    draft.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in draft.named_parameters()}


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("ttt", SETTINGS, ids=lambda t: f"{t.loss}-{t.reduction}-{t.mask_offset}")
def test_equals_a_chain_decoder_that_runs_every_row_alone(ttt: TttSettings) -> None:
    case = SmallCase()
    samples = [case.sample(mask) for mask in MASKS]
    draft = case.draft()
    seen: list[Tensor] = []
    hook = draft.norm.register_forward_hook(lambda _module, given, _out: seen.append(given[0].detach()))
    sums = run(case, draft, samples, ttt)
    hook.remove()
    oracle = ChainOracle(draft, case.embedding, case.head, case.vocabulary.ids, ttt)
    expected = oracle.run(samples)

    assert sum(expected.trained) < sum(expected.mask), "some targets must be outside the draft vocabulary"
    assert sums.trained.tolist() == expected.trained
    assert sums.hits.tolist() == expected.hits
    assert_close(sums.cross_entropy, torch.stack(expected.entropy))
    assert_close(sums.overlap, torch.stack(expected.overlap))
    for found, outputs in zip(seen, expected.outputs, strict=True):
        assert_close(found, torch.stack(outputs))
    loss, brute = loss_of(sums, ttt, 22), oracle.loss(expected, 22)
    assert_close(loss, brute)
    found, wanted = gradients(draft, loss), gradients(draft, brute)
    for name in wanted:
        assert wanted[name].abs().max() > 0
        assert_close(found[name], wanted[name])


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_mask_decides_per_row_and_step_which_target_counts(offset: int) -> None:
    lengths = [len(mask) for mask in MASKS]
    flat = torch.tensor([entry for mask in MASKS for entry in mask])
    plan = plan_rows(flat, lengths, 5, offset)
    for k, step in enumerate(plan.steps):
        found = [(int(step.rows[i]), int(plan.targets[j])) for i, j in zip(step.live, step.targets, strict=True)]
        expected, masked, start = [], 0, 0
        for mask in MASKS:
            m = [*mask[:-1], 0]
            for t in range(len(m)):
                guard = t + k + offset
                if guard < len(m) and m[guard]:
                    masked += 1
                    expected.append((start + t, start + t + k + 1))
            start += len(m)
        assert found == expected
        assert plan.mask_sums[k] == masked


@pytest.mark.parametrize("ttt", SETTINGS[:4], ids=lambda t: f"{t.reduction}-{t.mask_offset}")
def test_leaving_out_rows_without_a_loss_changes_nothing(ttt: TttSettings) -> None:
    case = SmallCase()
    samples = [case.sample(mask) for mask in MASKS]
    draft = case.draft()
    lean, plain = (run(case, draft, samples, ttt, compact) for compact in (True, False))
    for found, expected in zip(lean, plain, strict=True):
        assert_close(found, expected, 1e-12)
    first, second = (gradients(draft, loss_of(sums, ttt, 22)) for sums in (lean, plain))
    for name in first:
        assert_close(first[name], second[name], 1e-10)


def test_rows_without_a_loss_are_really_left_out() -> None:
    flat = torch.tensor([0] * 50 + [1] * 10)
    lean, plain = (plan_rows(flat, [60], 3, 0, compact) for compact in (True, False))
    # Targets are 51..59: rows 48..58 at step 0, and one row fewer with each step.
    assert [step.rows.numel() for step in lean.steps] == [11, 10, 9]
    assert [step.rows.numel() for step in plain.steps] == [60, 60, 60]


def test_attention_in_pieces_equals_attention_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    case = SmallCase()
    samples = [case.sample(mask) for mask in MASKS]
    draft = case.draft()
    ttt = ttt_settings(steps=4)
    whole = gradients(draft, loss_of(run(case, draft, samples, ttt), ttt, 22))
    monkeypatch.setattr(row_plan, "QUERY_ROWS", 3)
    monkeypatch.setattr(attention, "_MAX_KEPT_SCORES", 0)
    pieces = gradients(draft, loss_of(run(case, draft, samples, ttt), ttt, 22))
    for name in whole:
        assert_close(pieces[name], whole[name], 1e-12)


def test_batching_changes_the_masked_loss_by_nothing_and_the_all_position_loss_by_the_padding() -> None:
    case = SmallCase()
    samples = [case.sample(mask) for mask in MASKS]
    draft = case.draft()
    ttt = ttt_settings(steps=3)
    together = run(case, draft, samples, ttt)
    alone = [run(case, draft, [sample], ttt) for sample in samples]
    assert_close(together.cross_entropy, alone[0].cross_entropy + alone[1].cross_entropy, 1e-12)
    assert_close(together.trained, alone[0].trained + alone[1].trained)
    shares = ploss_shares(together, ttt, 22, together.trained, together.overlap.detach())
    assert_close(shares * 22, together.cross_entropy, 1e-12)


def test_no_gradient_flows_from_a_row_to_what_it_must_not_see() -> None:
    case = SmallCase()
    length = 9
    sample = case.sample([1] * length)
    sample["aux_hidden_state"].requires_grad_()
    draft = case.draft()
    outputs: list[Tensor] = []
    draft.norm.register_forward_hook(lambda _module, given, _out: outputs.append(given[0]))
    run(case, draft, [sample], ttt_settings(steps=3), compact=False)
    for output in outputs:
        for row in range(output.shape[0]):
            (grad,) = torch.autograd.grad(output[row].sum(), sample["aux_hidden_state"], retain_graph=True)
            touched = grad.abs().sum(-1) > 0
            assert touched[: row + 1].all()
            assert not touched[row + 1 :].any()


@pytest.mark.parametrize("loss", ["ce", "lk-alpha", "lk-lambda"])
@pytest.mark.parametrize("reduction", ["all", "masked"])
def test_an_empty_mask_gives_zero_loss_and_zero_gradients(loss: str, reduction: str) -> None:
    case = SmallCase()
    ttt = ttt_settings(steps=3, loss=loss, reduction=reduction)
    draft = case.draft()
    total = loss_of(run(case, draft, [case.sample([0] * 5)], ttt), ttt, 5)
    assert float(total.detach()) == 0.0
    for gradient in gradients(draft, total).values():
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_teacher_streams_over_the_vocabulary_and_ties_go_to_the_lowest_id() -> None:
    case = SmallCase()
    low = int(case.vocabulary.ids[2])
    # Whole numbers, so that equal columns give equal logits whatever the order of the sums.
    case.head = (case.head * 2).round()
    case.head[37] = case.head[low]
    hidden = torch.cat((case.head[low : low + 1] * 9, case.random(6, 16)))
    chunked, whole = case.teacher(7)(hidden), case.teacher(1000)(hidden)
    for found, expected in zip(chunked, whole, strict=True):
        assert_close(found, expected, 1e-12)
    assert int(case.vocabulary.ids[chunked.best[0]]) == low
    full = torch.softmax(hidden @ case.head.T, -1)[:, case.vocabulary.ids]
    assert_close(chunked.probs * chunked.mass[:, None], full, 1e-12)


@pytest.mark.parametrize("chunk", [7, 1000])
def test_teacher_rebuilds_scaled_capped_logits_of_a_head_with_bias(chunk: int) -> None:
    case = SmallCase()
    ids, hidden = case.vocabulary.ids, case.random(9, case.head.shape[1]) * 3
    bias = case.random(case.head.shape[0])
    finish = LogitFinish(scale=0.5, cap=2.0, bias=bias)
    logits = 2 * torch.tanh((hidden @ case.head.T + bias) / 4)
    teacher = Teacher(case.head, ids, chunk=chunk, finish=finish)
    found = teacher(hidden)
    assert_close(found.probs, torch.softmax(logits[:, ids], -1))
    assert_close(found.mass, torch.softmax(logits, -1)[:, ids].sum(-1))
    summary = teacher.summary(hidden)
    assert torch.equal(summary.token, logits.argmax(-1))
    assert_close(summary.total.double(), torch.logsumexp(logits, -1), 1e-6)
    assert_close(teacher(hidden, summary).probs, found.probs)
    assert not torch.allclose(Teacher(case.head, ids)(hidden).probs, found.probs)


def test_teacher_norms_hidden_states_that_were_stored_before_the_norm() -> None:
    case = SmallCase()
    raw, weight = case.random(6, 16) * 3, case.random(16)
    normed = raw / torch.sqrt(raw.square().mean(-1, keepdim=True) + 1e-6) * weight
    ids = case.vocabulary.ids
    assert_close(
        Teacher(case.head, ids, FinalNorm("rms", 1e-6, weight))(raw).probs, Teacher(case.head, ids)(normed).probs
    )
    assert not torch.allclose(Teacher(case.head, ids)(raw).probs, Teacher(case.head, ids)(normed).probs)
