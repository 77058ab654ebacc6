"""`fc_norm` and `norm_output`: both unrolls against brute force in fp64, each switch alone and both together."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from chain_oracle import ChainOracle
from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.drafts.eagle3.draft import Draft, DraftConfig
from draftbridge.drafts.eagle3.flops import Work, unroll_flops
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.objective import Objective
from draftbridge.drafts.eagle3.fused.plan import plan_fused
from draftbridge.drafts.eagle3.fused.trace import Inputs
from draftbridge.drafts.eagle3.fused.unroll import fused_sums, fused_unroll
from draftbridge.drafts.eagle3.kernels import torch_rows, triton_rows
from draftbridge.drafts.eagle3.row_plan import plan_rows
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.drafts.eagle3.ttt_loss import StepSums, decayed, ploss_shares, unroll
from small_case import CONFIG, MASKS, RAW_CONFIG, SmallCase, batch_of, ttt_settings
from torch import Tensor

torch.set_num_threads(1)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOLERANCE = 1e-10
POSITIONS = 22
SWITCHES = {
    "fc_norm": replace(CONFIG, fc_norm=True),
    "norm_output": replace(CONFIG, norm_output=True),
    "both": replace(CONFIG, fc_norm=True, norm_output=True),
    "both, one key head": replace(CONFIG, fc_norm=True, norm_output=True, num_key_value_heads=1),
    "both, as many key heads": replace(CONFIG, fc_norm=True, norm_output=True, num_key_value_heads=4),
}
SETTINGS = {
    "ce": ttt_settings(steps=4),
    "masked": ttt_settings(steps=3, reduction="masked", mask_offset=1, decay=0.5),
    "lk-alpha": ttt_settings(steps=3, loss="lk-alpha"),
    "lk-lambda": ttt_settings(steps=3, loss="lk-lambda", kl_scale=0.7, kl_decay=3.0),
}

Result = tuple[Tensor, dict[str, Tensor]]


@cache
def case_of(switches: str) -> tuple[SmallCase, Draft, list[TensorDict]]:
    case = SmallCase(config=SWITCHES[switches])
    draft = case.draft()
    with torch.no_grad():
        # Unequal norms, so that none can stand in for another.
        for weight in draft.parameters():
            if weight.dim() == 1:
                weight.copy_(1 + 0.4 * case.random(*weight.shape))
    samples = [case.sample(mask) for mask in MASKS]
    # The scales of real auxiliary states differ by orders of magnitude between layers.
    for sample in samples:
        sample["aux_hidden_state"] *= torch.tensor([0.1, 1.0, 20.0]).repeat_interleave(CONFIG.hidden_size)
    return case, draft, samples


def gradients(draft: Draft, loss: Tensor) -> dict[str, Tensor]:
    draft.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in draft.named_parameters()}


@cache
def brute(switches: str, setting: str) -> Result:
    case, draft, samples = case_of(switches)
    oracle = ChainOracle(draft, case.embedding, case.head, case.vocabulary.ids, SETTINGS[setting])
    loss = oracle.loss(oracle.run(samples), POSITIONS)
    return loss.detach(), gradients(draft, loss)


def plain(switches: str, setting: str, compact: bool = True) -> Result:
    (case, draft, samples), ttt = case_of(switches), SETTINGS[setting]
    batch = batch_of(*samples)
    plan = plan_rows(batch.loss_mask, batch.lengths, ttt.steps, ttt.mask_offset, compact)
    targets = case.teacher()(batch.states["hidden_state"][plan.targets])
    sums = unroll(draft, case.embedding, batch.input_ids, batch.states["aux_hidden_state"], plan, targets)
    loss = decayed(ploss_shares(sums, ttt, POSITIONS, sums.trained, sums.overlap.detach()), ttt.decay)
    return loss.detach(), gradients(draft, loss)


def fused(switches: str, setting: str, compact: bool = True, recompute: bool = False) -> Result:
    (case, draft, samples), ttt = case_of(switches), SETTINGS[setting]
    batch, buffers = batch_of(*samples), Buffers(torch.device("cpu"))
    plan = plan_fused(batch.loss_mask, batch.lengths, ttt.steps, ttt.mask_offset, compact)
    teacher = case.teacher().logits(batch.states["hidden_state"][plan.wanted])
    inputs = Inputs(case.embedding, batch.input_ids, batch.states["aux_hidden_state"], plan, teacher, recompute)
    objective = Objective(ttt, POSITIONS, 1.0, lambda total: total)
    zero, *found = fused_unroll(draft, inputs, objective, torch_rows, buffers)
    grads = gradients(draft, zero)
    for trained, evaluated in zip(found, fused_sums(draft, inputs, torch_rows, buffers), strict=True):
        assert torch.equal(trained, evaluated)
    sums = StepSums(*found)
    return decayed(ploss_shares(sums, ttt, POSITIONS, sums.trained, sums.overlap), ttt.decay), grads


def assert_equal(found: Result, expected: Result) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=TOLERANCE, atol=0)
    assert found[1].keys() == expected[1].keys()
    for name, wanted in expected[1].items():
        assert wanted.abs().max() > 0, name
        error = (found[1][name] - wanted).abs().max() / wanted.abs().max()
        assert error <= TOLERANCE, f"{name}: {error}"


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("switches", SWITCHES)
def test_both_unrolls_equal_brute_force(switches: str, setting: str) -> None:
    expected = brute(switches, setting)
    assert_equal(plain(switches, setting), expected)
    assert_equal(fused(switches, setting), expected)


@pytest.mark.parametrize("switches", ["fc_norm", "norm_output", "both"])
def test_neither_leaving_rows_out_nor_computing_activations_twice_matters(switches: str) -> None:
    expected = brute(switches, "ce")
    assert_equal(plain(switches, "ce", compact=False), expected)
    for compact, recompute in ((False, False), (True, True), (False, True)):
        assert_equal(fused(switches, "ce", compact, recompute), expected)


@pytest.mark.parametrize("compact", [True, False])
def test_a_prompt_whose_rows_are_left_out(compact: bool) -> None:
    case = SmallCase(config=SWITCHES["both"])
    draft, samples, ttt = case.draft(), [case.sample([0] * 20 + [1] * 5)], ttt_settings(steps=3)
    batch, buffers = batch_of(*samples), Buffers(torch.device("cpu"))
    plan = plan_fused(batch.loss_mask, batch.lengths, ttt.steps, 0, compact)
    assert (plan.rows is None) == (not compact)
    teacher = case.teacher().logits(batch.states["hidden_state"][plan.wanted])
    inputs = Inputs(case.embedding, batch.input_ids, batch.states["aux_hidden_state"], plan, teacher)
    zero, *_ = fused_unroll(draft, inputs, Objective(ttt, 25, 1.0, lambda total: total), torch_rows, buffers)
    oracle = ChainOracle(draft, case.embedding, case.head, case.vocabulary.ids, ttt)
    found, expected = gradients(draft, zero), gradients(draft, oracle.loss(oracle.run(samples), 25))
    for name, wanted in expected.items():
        assert (found[name] - wanted).abs().max() <= TOLERANCE * wanted.abs().max(), name


def test_each_switch_changes_the_draft_and_only_fc_norm_has_weights() -> None:
    plain_names = {name for name, _ in SmallCase().draft().named_parameters()}
    norms = {f"fc_norm.{state}.weight" for state in range(3)}
    named = {key: {name for name, _ in case_of(key)[1].named_parameters()} for key in ("fc_norm", "norm_output")}
    assert named == {"fc_norm": plain_names | norms, "norm_output": plain_names}
    losses = {float(brute(key, "ce")[0]) for key in ("fc_norm", "norm_output", "both")}
    assert len(losses) == 3


def test_fc_norm_ignores_the_scale_of_an_auxiliary_state() -> None:
    _, draft, samples = case_of("fc_norm")
    aux = samples[0]["aux_hidden_state"]
    scaled = aux * torch.tensor([7.0, 0.3, 100.0]).repeat_interleave(CONFIG.hidden_size)
    torch.testing.assert_close(draft.fuse(scaled), draft.fuse(aux), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(SmallCase().draft().fuse(scaled), SmallCase().draft().fuse(aux), rtol=0.1)


def test_the_gradient_by_the_input_of_fc_counts() -> None:
    work, hidden = Work(rows=10, computed=(10,), with_logits=(10,), wanted=10, pairs=(55,)), CONFIG.hidden_size
    more = unroll_flops(SWITCHES["fc_norm"], work) - unroll_flops(CONFIG, work)
    assert more == 10 * 2 * 3 * hidden * hidden
    assert unroll_flops(SWITCHES["norm_output"], work) == unroll_flops(CONFIG, work)


def test_a_configuration_names_its_switches_and_leaves_them_off() -> None:
    off = {name: value for name, value in RAW_CONFIG.items() if name not in ("fc_norm", "norm_output")}
    assert DraftConfig.from_dict(off) == CONFIG
    assert DraftConfig.from_dict(off | {"fc_norm": False, "norm_output": None}) == CONFIG
    assert DraftConfig.from_dict(off | {"fc_norm": True, "norm_output": True}) == SWITCHES["both"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("fc_norm", "true"), ("norm_output", 1), ("norm_before_fc", True), ("norm_before_residual", True)],
)
def test_other_values_and_other_norms_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(BridgeError) as caught:
        DraftConfig.from_dict(RAW_CONFIG | {field: value}, "draft.json")
    assert caught.value.code == "CONFIG_INVALID"
    assert (caught.value.details["file"], caught.value.details["field"]) == ("draft.json", field)
    DraftConfig.from_dict(RAW_CONFIG | {"norm_before_fc": False, "norm_before_residual": False})


@pytest.mark.parametrize("config", [CONFIG, *SWITCHES.values()], ids=["off", *SWITCHES])
def test_the_triton_kernels_train_the_same_draft(config: DraftConfig) -> None:
    """The whole fused unroll on the kernels of the GPU: they take the strides and the buffers that it gives them."""
    case, ttt = SmallCase(torch.float32, config=config), ttt_settings(steps=3, loss="lk-lambda")
    case.embedding, case.head = case.embedding.to(DEVICE), case.head.to(DEVICE)
    draft, batch = case.draft().to(DEVICE), batch_of(*(case.sample(mask) for mask in MASKS))
    plan = plan_fused(batch.loss_mask, batch.lengths, ttt.steps, 0)
    found = []
    for kernels in (torch_rows, triton_rows):
        teacher = Teacher(case.head, case.vocabulary.ids, kernels=kernels)
        logits = teacher.logits(batch.states["hidden_state"][plan.wanted].to(DEVICE))
        ids, aux = batch.input_ids.to(DEVICE), batch.states["aux_hidden_state"].to(DEVICE)
        inputs = Inputs(case.embedding, ids, aux, plan.to(DEVICE), logits)
        objective = Objective(ttt, POSITIONS, 1.0, lambda total: total)
        zero, *sums = fused_unroll(draft, inputs, objective, kernels, Buffers(DEVICE))
        found.append((StepSums(*sums).cross_entropy, gradients(draft, zero)))
    (expected, wanted), (entropy, grads) = found
    torch.testing.assert_close(entropy, expected, rtol=1e-4, atol=1e-4)
    for name, grad in wanted.items():
        assert (grads[name] - grad).abs().max() <= 1e-3 * grad.abs().max(), name
