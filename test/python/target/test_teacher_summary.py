"""What a producer stores of the target's logits takes the place of making them again, and changes no number."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.distributed.parallel import World, share_draft
from draftbridge.drafts.eagle3.ttt_loss import TttOptions
from draftbridge.target import target
from draftbridge.target.capture import Capture
from draftbridge.training.batch import collate
from draftbridge.training.train_session import Frozen, TrainSession
from draftbridge.training.unrolling import Savings
from rank_worker import train
from small_case import CONFIG, MASKS, OPTIONS, RAW_CONFIG, SmallCase, batch_of

ALONE = World(0, 1, torch.device("cpu"))


def with_summary(case: SmallCase, sample: TensorDict) -> TensorDict:
    token, total = case.teacher().summary(sample["hidden_state"])
    return sample | {"target_token": token.int(), "target_logsumexp": total}


def test_a_capture_stores_the_argmax_and_the_logsumexp_of_the_targets_own_logits(tiny_target: str) -> None:
    ids = torch.arange(3, 40)
    capture = Capture(tiny_target, None, torch.float32, store_teacher=True)
    [(hidden, _)] = capture.states([ids])
    features = capture.summary_features(hidden)
    with torch.inference_mode():
        logits = target.load_model(tiny_target, torch.float32)(ids[None]).logits[0]
    assert torch.equal(features["target_token"], logits.argmax(-1).int())
    torch.testing.assert_close(features["target_logsumexp"], torch.logsumexp(logits, -1))
    assert Capture(tiny_target, None, torch.float32).summary_features(hidden) == {}


def test_the_teacher_computes_the_same_from_a_stored_summary() -> None:
    case = SmallCase()
    hidden = case.random(11, CONFIG.hidden_size)
    teacher = case.teacher()
    for found, expected in zip(teacher.logits(hidden, teacher.summary(hidden)), teacher.logits(hidden), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fused", [False, True])
def test_a_session_trains_alike_and_uses_the_stored_summary_only_if_it_is_allowed_to(fused: bool) -> None:
    case = SmallCase(torch.float32)
    samples = [case.sample(mask) for mask in MASKS]
    stored = [with_summary(case, sample) for sample in samples]
    lies = [sample | {"target_token": torch.zeros_like(sample["target_token"])} for sample in stored]

    def curve(given: list[TensorDict], use: bool) -> list[float]:
        frozen = Frozen(case.embedding, case.teacher(), case.vocabulary, CONFIG, RAW_CONFIG)
        draft = share_draft(case.draft(), ALONE, "replicate", False)
        savings = Savings(fused=fused, stored_teacher=use)
        session = TrainSession(ALONE, draft, frozen, TttOptions(steps=3), replace(OPTIONS), savings)
        return [row["loss"] for row in train(session, [batch_of(*given)], 3)]

    without = curve(samples, True)
    assert curve(stored, True) == pytest.approx(without, rel=1e-6)
    assert curve(lies, False) == without
    assert curve(lies, True) != pytest.approx(without, rel=1e-3)
    # One sample without it, and it is made for all.
    assert curve([lies[0], samples[1]], True) == without


def test_what_is_stored_in_another_form_is_refused() -> None:
    case = SmallCase(torch.float32)
    good = with_summary(case, case.sample(MASKS[0]))
    assert collate([good], 5).summary is not None
    for wrong in (good["target_token"].long(), good["target_token"][:-1]):
        with pytest.raises(BridgeError) as caught:
            collate([good | {"target_token": wrong}], 64)
        assert (caught.value.code, caught.value.details["field"]) == ("FEATURE_INVALID", "target_token")
