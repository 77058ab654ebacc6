"""The count of floating-point operations equals figures that were worked out by hand from the formula below.

FLOP per token = 4 N_fc + 6 K N_block + r (6 K N_head + 2 H V) + 14 K qd S / 2, where N_fc = 3 H^2,
N_block = 2 H (qd + 2 kd) + qd H + 3 H I, N_head = H Vd, and r is the share of rows with logits.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from draftbridge.drafts.eagle3.draft import DraftConfig
from draftbridge.drafts.eagle3.flops import Work, unroll_flops
from draftbridge.drafts.eagle3.fused.plan import plan_fused
from draftbridge.drafts.eagle3.row_plan import plan_rows

QWEN = DraftConfig(
    hidden_size=3584,
    intermediate_size=18944,
    num_attention_heads=28,
    num_key_value_heads=4,
    head_dim=128,
    vocab_size=152064,
    draft_vocab_size=32000,
    rms_norm_eps=1e-6,
    rope_theta=1e6,
    max_position_embeddings=32768,
)
LLAMA = replace(
    QWEN,
    hidden_size=4096,
    intermediate_size=14336,
    num_attention_heads=32,
    num_key_value_heads=8,
    vocab_size=128256,
)


def per_token(
    config: DraftConfig, length: int = 2048, steps: int = 7, with_logits: float = 1.0, stored_teacher: bool = False
) -> float:
    """GFLOP for each token of samples of one length, all rows computed."""
    headed = int(length * with_logits)
    each = (length,) * steps
    work = Work(length, each, (headed,) * steps, headed, (length * (length + 1) // 2,) * steps)
    return unroll_flops(config, work, stored_teacher) / length / 1e9


@pytest.mark.parametrize(
    ("found", "figure"),
    [
        (per_token(QWEN), 16.90),
        (per_token(replace(QWEN, draft_vocab_size=16000)), 14.49),
        (per_token(QWEN, with_logits=0.5), 13.95),
        (per_token(QWEN, length=4096), 17.26),
        (per_token(QWEN, steps=3), 7.95),
        (per_token(QWEN, steps=1), 3.48),
        (per_token(LLAMA), 17.39),
        # Without the teacher's 1.09 over all tokens, with 0.23 over the draft's.
        (per_token(QWEN, stored_teacher=True), 16.90 - 1.09 + 0.23),
    ],
)
def test_the_count_equals_the_figures_worked_out_by_hand(found: float, figure: float) -> None:
    assert found == pytest.approx(figure, abs=0.0051)


def test_half_the_rows_live_cost_about_half_of_what_compaction_can_save() -> None:
    half = (1024,) * 7
    work = Work(2048, half, half, 1024, (1024 * 1025,) * 7)
    assert unroll_flops(QWEN, work) / 2048 / 1e9 == pytest.approx(8.6, abs=0.1)


def test_the_plans_say_what_they_compute() -> None:
    mask = torch.tensor([0, 0, 0, 0, 0, 1, 1, 0, 0, 0])
    # Target positions 6 and 7 are what rows 5 and 6 come to at step 0, 4 and 5 at step 1, 3 and 4 at step 2.
    plain, fused = plan_rows(mask, (10,), 3).work(), plan_fused(mask, (10,), 3).work()
    assert plain == Work(10, (4, 3, 2), (2, 2, 2), 2, (4 + 5 + 6 + 7, 4 + 5 + 6, 4 + 5))
    assert fused == Work(10, (4, 4, 4), (4, 4, 4), 2, (22, 22, 22))
    everything = plan_rows(mask, (10,), 3, compact=False).work()
    assert everything == Work(10, (10, 10, 10), (2, 2, 2), 2, (55, 55, 55))
    assert plan_fused(torch.zeros(3), (3,), 3).work() == Work(3, (0, 0, 0), (0, 0, 0), 0, (0, 0, 0))
