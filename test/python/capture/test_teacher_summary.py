"""A stored summary of the target's logits replaces computing them in training, and changes no number."""

from __future__ import annotations

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.capture.capture import Capture
from draftbridge.distributed.world import World
from draftbridge.drafts.eagle3.eagle3 import Eagle3
from draftbridge.settings.model_settings import TargetSettings
from draftbridge.target import target
from rank_worker import train
from small_case import CONFIG, LAYOUT, MASKS, SmallCase, batch_of, ttt_settings

ALONE = World(0, 1, torch.device("cpu"))


def with_summary(case: SmallCase, sample: TensorDict) -> TensorDict:
    token, total = case.teacher().summary(sample["hidden_state"])
    return sample | {"target_token": token.int(), "target_logsumexp": total}


def test_a_capture_stores_the_argmax_and_the_logsumexp_of_the_targets_own_logits(tiny_target: str) -> None:
    ids = torch.arange(3, 40)
    settings = TargetSettings(tiny_target, "float32", None)
    [features] = Capture(settings, Eagle3(), (1, 3, 4), store_teacher=True).features([ids])
    with torch.inference_mode():
        logits = target.load_model(tiny_target, torch.float32)(ids[None]).logits[0]
    assert torch.equal(features["target_token"], logits.argmax(-1).int())
    torch.testing.assert_close(features["target_logsumexp"], torch.logsumexp(logits, -1))
    [without] = Capture(settings, Eagle3(), (1, 3, 4)).features([ids])
    assert list(without) == ["hidden_state", "aux_hidden_state"]


def test_the_teacher_gives_the_same_with_a_stored_summary() -> None:
    case = SmallCase()
    hidden = case.random(11, CONFIG.hidden_size)
    teacher = case.teacher()
    for found, expected in zip(teacher.logits(hidden, teacher.summary(hidden)), teacher.logits(hidden), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fused", [False, True])
def test_a_session_trains_alike_and_reads_the_summary_only_if_it_may(fused: bool) -> None:
    case = SmallCase(torch.float32)
    samples = [case.sample(mask) for mask in MASKS]
    stored = [with_summary(case, sample) for sample in samples]
    lies = [sample | {"target_token": torch.zeros_like(sample["target_token"])} for sample in stored]

    def curve(given: list[TensorDict], use: bool) -> list[float]:
        session = case.session(ALONE, ttt_settings(steps=3), "replicate", fused=fused, stored_teacher=use)
        return [row["loss"] for row in train(session, [batch_of(*given)], 3)]

    without = curve(samples, True)
    assert curve(stored, True) == pytest.approx(without, rel=1e-6)
    assert curve(lies, False) == without
    assert curve(lies, True) != pytest.approx(without, rel=1e-3)
    # If one sample has no summary, it is computed for the whole batch.
    assert curve([lies[0], samples[1]], True) == without


def test_a_summary_in_another_form_is_refused() -> None:
    case = SmallCase(torch.float32)
    good = with_summary(case, case.sample(MASKS[0]))
    assert LAYOUT.collate([good], 5).summary is not None
    for wrong in (good["target_token"].long(), good["target_token"][:-1]):
        with pytest.raises(BridgeError) as caught:
            LAYOUT.collate([good | {"target_token": wrong}], 64)
        assert (caught.value.code, caught.value.details["field"]) == ("FEATURE_INVALID", "target_token")
