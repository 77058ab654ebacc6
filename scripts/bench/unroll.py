"""Where the milliseconds of a training step go on a GPU. scripts/bench/unroll.ts runs it and shows its tables.

Compares the gradients of the fused unroll with fp64 first, then times its parts with device events. The features are
random; scripts/bench/train.ts measures a run with a store. Prints one JSON document: `{"tables": [...]}`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2] / "python"))

from draftbridge.drafts.eagle3.draft import Draft, DraftConfig, initial_draft
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.fused.objective import Objective
from draftbridge.drafts.eagle3.fused.plan import plan_fused
from draftbridge.drafts.eagle3.fused.trace import Inputs
from draftbridge.drafts.eagle3.fused.unroll import fused_unroll
from draftbridge.drafts.eagle3.kernels import torch_rows, triton_rows
from draftbridge.drafts.eagle3.row_plan import plan_rows
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.drafts.eagle3.ttt_loss import decayed, ploss_shares, unroll
from draftbridge.settings.train_settings import TttSettings

QWEN = DraftConfig(3584, 18944, 28, 4, 128, 152064, 16000, 1e-6, 1e6, 32768)
SMALL = DraftConfig(512, 1280, 14, 2, 64, 4000, 1000, 1e-6, 1e6, 32768)
CASES = {
    "4x2048 all": (4, 2048, 1.0),
    "4x2048 half": (4, 2048, 0.5),
    "1x2048 all": (1, 2048, 1.0),
    "2x4096 all": (2, 4096, 1.0),
    "1x8192 all": (1, 8192, 1.0),
}
TTT = TttSettings(steps=7, decay=0.8, loss="ce", kl_scale=1.0, kl_decay=1.0, reduction="all", mask_offset=0)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def masks(samples: int, length: int, live: float) -> Tensor:
    """Turns of 256 tokens, of which the last share is answered."""
    turn = torch.arange(length) % 256
    return (turn >= 256 * (1 - live)).long().repeat(samples)


class Rig:
    def __init__(self, config: DraftConfig, samples: int, length: int, live: float) -> None:
        torch.manual_seed(3)
        total = samples * length
        self.config = config
        self.lengths = (length,) * samples
        self.mask = masks(samples, length, live)
        self.ids = torch.randint(0, config.vocab_size, (total,), device=DEVICE)
        self.aux = torch.randn(total, 3 * config.hidden_size, device=DEVICE).bfloat16()
        self.hidden = torch.randn(total, config.hidden_size, device=DEVICE).bfloat16()
        scale = 3 / config.hidden_size**0.5
        self.head = (torch.randn(config.vocab_size, config.hidden_size, device=DEVICE) * scale).bfloat16()
        self.embedding = torch.randn(config.vocab_size, config.hidden_size, device=DEVICE).bfloat16()
        self.vocabulary = torch.randperm(config.vocab_size)[: config.draft_vocab_size].sort().values
        self.buffers = Buffers(DEVICE)

    def teacher(self, dtype: torch.dtype) -> Teacher:
        kernels = triton_rows if DEVICE.type == "cuda" and dtype == torch.bfloat16 else torch_rows
        return Teacher(self.head.to(dtype), self.vocabulary, kernels=kernels)

    def fused(self, draft: Draft, teacher: Teacher, plan=None):
        dtype = draft.fc.weight.dtype
        kernels = triton_rows if DEVICE.type == "cuda" and dtype == torch.bfloat16 else torch_rows
        plan = plan or plan_fused(self.mask, self.lengths, TTT.steps).to(DEVICE)
        logits = teacher.logits(self.hidden[plan.wanted].to(dtype))
        inputs = Inputs(self.embedding.to(dtype), self.ids, self.aux.to(dtype), plan, logits)
        objective = Objective(TTT, self.mask.numel(), 1.0, lambda total: total)
        loss, *sums = fused_unroll(draft, inputs, objective, kernels, self.buffers)
        return loss, sums

    def plain(self, draft: Draft, teacher: Teacher):
        dtype = draft.fc.weight.dtype
        plan = plan_rows(self.mask, self.lengths, TTT.steps).to(DEVICE)
        targets = teacher(self.hidden[plan.targets].to(dtype))
        sums = unroll(draft, self.embedding.to(dtype), self.ids, self.aux.to(dtype), plan, targets)
        shares = ploss_shares(sums, TTT, self.mask.numel(), sums.trained, sums.overlap.detach())
        return decayed(shares, TTT.decay), sums


def draft_of(config: DraftConfig, dtype: torch.dtype) -> Draft:
    return initial_draft(config, 1).bfloat16().to(DEVICE, dtype)


def grads(draft: Draft, loss: Tensor) -> dict[str, Tensor]:
    draft.zero_grad()
    loss.backward()
    return {name: p.grad.double() for name, p in draft.named_parameters()}


Table = dict[str, object]


def distances_from_fp64() -> Table:
    """Relative distance from fp64 of each parameter's gradient in bf16, by the fused and by the plain form."""
    rig = Rig(SMALL, 3, 700, 0.5)
    draft = draft_of(SMALL, torch.float64)
    loss, _ = rig.plain(draft, rig.teacher(torch.float64))
    expected = grads(draft, loss)
    found = {}
    for name, run in (("fused", rig.fused), ("plain", rig.plain)):
        draft = draft_of(SMALL, torch.bfloat16)
        loss, _ = run(draft, rig.teacher(torch.bfloat16))
        found[name] = grads(draft, loss)
    rows = []
    for name, gradient in expected.items():
        off = {form: float((found[form][name] - gradient).norm() / gradient.norm()) for form in found}
        rows.append([name, f"{off['fused']:.2e}", f"{off['plain']:.2e}"])
    return {
        "title": "Gradients in bf16, distance from fp64 (norm)",
        "columns": ["parameter", "fused", "plain"],
        "rows": rows,
    }


def timed(task, turns: int = 5) -> float:
    """Milliseconds, the median by device events."""
    task()
    task()
    found = []
    for _ in range(turns):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        task()
        end.record()
        torch.cuda.synchronize()
        found.append(begin.elapsed_time(end))
    return sorted(found)[turns // 2]


COLUMNS = ["case", "tokens/s", "teacher ms", "teacher, stored ms", "teacher + forward ms", "whole ms", "GiB", "first s"]


def measure(name: str, profile: bool) -> tuple[list[str], list[Table]]:
    """The row of one case, and with `profile` the table of its parts."""
    samples, length, live = CASES[name]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    rig = Rig(QWEN, samples, length, live)
    draft, teacher = draft_of(QWEN, torch.bfloat16), rig.teacher(torch.bfloat16)
    plan = plan_fused(rig.mask, rig.lengths, TTT.steps).to(DEVICE)
    begun = time.perf_counter()
    rig.fused(draft, teacher, plan)[0].backward()
    torch.cuda.synchronize()
    first = time.perf_counter() - begun

    def whole() -> None:
        rig.fused(draft, teacher, plan)[0].backward()

    stored = teacher.summary(rig.hidden[plan.wanted])
    parts = [
        timed(lambda: teacher.logits(rig.hidden[plan.wanted])),
        timed(lambda: teacher.logits(rig.hidden[plan.wanted], stored)),
        timed(lambda: rig.fused(draft, teacher, plan)),
        timed(whole),
    ]
    rate = samples * length / parts[-1] * 1000
    peak = torch.cuda.max_memory_allocated() / 2**30
    row = [name, f"{rate:.0f}", *(f"{ms:.1f}" for ms in parts), f"{peak:.1f}", f"{first:.1f}"]
    print(" | ".join(row), file=sys.stderr, flush=True)
    return row, [parts_of_step(name, whole)] if profile else []


PARTS = {
    "matrix products": ("nvjet", "gemm", "cutlass", "cublas", "splitK"),
    "attention over step 0": ("flash_", "cudnn", "sdpa"),
    "attention over own keys": ("merge_own",),
    "loss and teacher rows": ("entropy", "fold_teacher", "row_logsumexp"),
    "norms, rope, gate": ("rms_norm", "rotate", "silu_mul"),
}
OTHER = "copies, sums, fills"


def parts_of_step(name: str, step) -> Table:
    """Milliseconds of device time of one step, by what the kernels are for."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as found:
        step()
        torch.cuda.synchronize()
    sums = dict.fromkeys((*PARTS, OTHER), 0.0)
    for event in found.key_averages():
        names = (part for part, words in PARTS.items() if any(word in event.key for word in words))
        sums[next(names, OTHER)] += event.self_device_time_total / 1000
    whole = sum(sums.values())
    rows = [[part, f"{ms:.2f}", f"{100 * ms / whole:.1f} %"] for part, ms in (*sums.items(), ("all kernels", whole))]
    return {"title": f"Device time of one step, {name}", "columns": ["part", "ms", "share"], "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=[])
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    tables = [distances_from_fp64()]
    if DEVICE.type == "cuda":
        measured = [measure(name, given.profile) for name in given.cases or CASES]
        tables.append(
            {"title": "Teacher, forward and backward", "columns": COLUMNS, "rows": [row for row, _ in measured]}
        )
        tables.extend(part for _, parts in measured for part in parts)
    print(json.dumps({"tables": tables}))


main()
