"""Do `fc_norm` and `norm_output` raise tau? 2 x 2 settings, some seeds: `python scripts/bench/eagle31.py --model GGUF
--data FOLDER --out results.json [--budget SECONDS]`.

`--data` holds train.jsonl.gz and eval.jsonl.gz: lines with `input_ids` (a conversation that the target wrote) and
`loss_start`. Features are captured once and stay on the device. Each cell (setting, seed) is written to `--out` when it
is done; a cell that stands there already is not run again, and none begins that would outlast the budget. Needs torch,
transformers, gguf and xxhash; no Node.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2] / "python"))
sys.path.insert(0, str(Path(__file__).parent))

from chain_tau import Answer, count_passes, right_guesses
from draftbridge.bridge.handles import TensorDict
from draftbridge.distributed.share_draft import share_draft
from draftbridge.distributed.world import World, join, leave
from draftbridge.drafts.eagle3.draft import DraftConfig, initial_draft
from draftbridge.drafts.eagle3.frozen import Frozen
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.row_kernel_choice import row_kernels
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.drafts.vocabulary import choose_vocabulary
from draftbridge.golden.eagle3_session import eagle3_session, train_settings
from draftbridge.settings.train_settings import OptimizerSettings, TttSettings
from draftbridge.target.target import load_model
from draftbridge.training.train_session import MicroStep, TrainSession

SETTINGS = {
    "off": {},
    "fc_norm": {"fc_norm": True},
    "norm_output": {"norm_output": True},
    "both": {"fc_norm": True, "norm_output": True},
}
TAU_STEPS = (3, 5, 7)
TTT_STEPS = 7
CAPTURED_AT_ONCE = 32


@dataclass
class Rig:
    device: torch.device
    dtype: torch.dtype
    config: DraftConfig
    embedding: Tensor
    head: Tensor
    samples: list[TensorDict]
    held_out: list[TensorDict]
    answers: list[Answer]


def lines(file: Path, limit: int | None) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as text:
        return [json.loads(line) for line, _ in zip(text, range(limit or sys.maxsize), strict=False)]


@torch.inference_mode()
def capture(model: Any, rows: list[dict[str, Any]], device: torch.device, dtype: torch.dtype) -> list[TensorDict]:
    """Features of the conversations: ids and mask on the CPU, where plans are made, states on the device."""
    count, found = model.config.num_hidden_layers, []
    # As auxLayers in src/drafts/eagle3 chooses them.
    layers = (1, count // 2 - 1, count - 4)
    for at in range(0, len(rows), CAPTURED_AT_ONCE):
        part = [torch.tensor(row["input_ids"]) for row in rows[at : at + CAPTURED_AT_ONCE]]
        ids = torch.nn.utils.rnn.pad_sequence(part, batch_first=True).to(device)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in part], batch_first=True).to(device)
        output = model(ids, attention_mask=mask, use_cache=False, output_hidden_states=True)
        # The output of layer i is hidden state i + 1. The last hidden state is after the final norm.
        aux = torch.cat([output.hidden_states[layer + 1] for layer in layers], -1)
        for place, (row, line) in enumerate(zip(part, rows[at:], strict=False)):
            trained = (torch.arange(row.numel()) >= line["loss_start"]).long()
            found.append(
                {
                    "input_ids": row,
                    "loss_mask": trained,
                    "hidden_state": output.last_hidden_state[place, : row.numel()].to(dtype, copy=True),
                    "aux_hidden_state": aux[place, : row.numel()].to(dtype, copy=True),
                }
            )
    return found


def prepare(options: argparse.Namespace, device: torch.device) -> Rig:
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model: Any = load_model(options.model, dtype)
    base, size = model.base_model.to(device), model.config
    train, held = (
        lines(options.data / f"{name}.jsonl.gz", limit)
        for name, limit in (("train", options.train), ("eval", options.eval))
    )
    begun = time.perf_counter()
    samples, held_out = (capture(base, rows, device, dtype) for rows in (train, held))
    tokens = sum(sample["input_ids"].numel() for sample in (*samples, *held_out))
    print(f"captured {tokens} tokens in {time.perf_counter() - begun:.1f} s", flush=True)
    heads = size.num_attention_heads
    rope = getattr(size, "rope_parameters", None) or {}
    config = DraftConfig(
        size.hidden_size,
        size.intermediate_size,
        heads,
        size.num_key_value_heads,
        getattr(size, "head_dim", None) or size.hidden_size // heads,
        size.vocab_size,
        options.vocab,
        size.rms_norm_eps,
        float(rope.get("rope_theta") or getattr(size, "rope_theta", 10000.0)),
        size.max_position_embeddings,
    )
    # Out of inference mode: the unroll's autograd keeps some of these.
    embedding, head = (part.weight.detach().to(device).clone() for part in (base.embed_tokens, model.lm_head))
    answers = [
        Answer(sample["input_ids"], line["loss_start"], sample["aux_hidden_state"])
        for sample, line in zip(held_out, held, strict=True)
    ]
    return Rig(device, dtype, config, embedding, head, samples, held_out, answers)


def with_teacher(rig: Rig, teacher: Teacher) -> None:
    """Stores the teacher's summary in every sample: training then needs the draft's columns of the head alone."""
    for sample in (*rig.samples, *rig.held_out):
        token, total = teacher.summary(sample["hidden_state"])
        sample |= {"target_token": token.int(), "target_logsumexp": total}


def session_of(
    rig: Rig,
    world: World,
    teacher: Teacher,
    vocabulary: Any,
    setting: str,
    seed: int,
    steps: int,
    options: argparse.Namespace,
) -> TrainSession:
    config = replace(rig.config, **SETTINGS[setting])
    torch.manual_seed(seed)
    half = rig.dtype == torch.bfloat16
    draft = share_draft(initial_draft(config, seed), world, "replicate", half)
    frozen = Frozen(rig.embedding, teacher, vocabulary, config)
    optimizer = OptimizerSettings(options.lr, (0.9, 0.999), 0.0, 0.5, 0.015, "cosine")
    settings = train_settings(TttSettings(TTT_STEPS, 0.8, "ce", 1.0, 1.0, "all", 0), optimizer)
    return eagle3_session(world, draft, frozen, settings, steps, fused=True)


def train(session: TrainSession, rig: Rig, options: argparse.Namespace, seed: int) -> tuple[float, float]:
    """The training loss of the last tenth of all steps, and real tokens per second."""
    generator = torch.Generator().manual_seed(seed)
    batches = [
        part
        for _ in range(options.epochs)
        for part in torch.randperm(len(rig.samples), generator=generator).split(options.batch)
    ]
    begun, tokens, last = time.perf_counter(), 0, max(1, len(batches) // 10)
    for index, part in enumerate(batches):
        if index == len(batches) - last:
            session.read_metrics()
        staged = session.staging.stage([rig.samples[at] for at in part.tolist()], 2048)
        session.step(staged, MicroStep(staged.positions, 1, True, False))
        tokens += staged.tokens
    loss = session.read_metrics()["loss"]
    return float(str(loss)), tokens / (time.perf_counter() - begun)


def evaluate(session: TrainSession, rig: Rig, options: argparse.Namespace) -> dict[str, Any]:
    """Loss and accuracy of each step over the held-out answers, and tau."""
    kernels, buffers = row_kernels(rig.device, rig.dtype), Buffers(rig.device)
    d2t = session.trainer.description.constants["d2t"]
    ids, steps = d2t + torch.arange(d2t.numel()), session.trainer.draft_positions
    counts = dict.fromkeys(TAU_STEPS, (0, 0))
    sums = torch.zeros(3, steps, dtype=torch.float64)
    for at in range(0, len(rig.answers), options.batch):
        answers = rig.answers[at : at + options.batch]
        found = session.trainer.evaluate(
            session.draft, session.staging.stage(rig.held_out[at : at + options.batch], 2048).take()
        )
        sums += torch.stack([part.double().cpu() for part in (found.cross_entropy, found.trained, found.hits)])
        right = session.draft.run_no_grad(
            lambda whole, answers=answers: right_guesses(whole, rig.embedding, ids, answers, steps, kernels, buffers)
        )
        for drafted in TAU_STEPS:
            for mine, answer in zip(right, answers, strict=True):
                tokens, passes = count_passes(mine, answer, drafted, options.new)
                counts[drafted] = (counts[drafted][0] + tokens, counts[drafted][1] + passes)
    entropy, trained, hits = sums
    return {
        "tau": {str(drafted): tokens / max(1, passes) for drafted, (tokens, passes) in counts.items()},
        "heldOutLoss": (entropy / trained).tolist(),
        "heldOutAccuracy": (hits / trained).tolist(),
    }


def table(cells: list[dict[str, Any]]) -> str:
    rows = ["setting      seed  tau 3  tau 5  tau 7  train loss  held-out 1 / 7  tokens/s"]
    for cell in cells:
        tau, held = (cell["tau"][str(steps)] for steps in TAU_STEPS), cell["heldOutLoss"]
        rows.append(
            f"{cell['setting']:<12} {cell['seed']:>4}  "
            + "  ".join(f"{value:.3f}" for value in tau)
            + f"  {cell['trainLoss']:>10.4f}  {held[0]:.3f} / {held[-1]:.3f}   {cell['tokensPerSecond']:>8.0f}"
        )
    for setting in SETTINGS:
        mine = [cell["tau"] for cell in cells if cell["setting"] == setting]
        if mine:
            means = "  ".join(f"{sum(tau[str(n)] for tau in mine) / len(mine):.3f}" for n in TAU_STEPS)
            rows.append(f"{setting:<12} mean  {means}  of {len(mine)}")
    return "\n".join(rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=450.0, help="seconds, from the start of the process")
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--seeds", default="0,1,2")
    for name, kind, default in (("epochs", int, 3), ("batch", int, 16), ("lr", float, 1e-3), ("vocab", int, 8192)):
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--train", type=int, help="conversations; all if left out")
    parser.add_argument("--eval", type=int, help="prompts; all if left out")
    parser.add_argument("--new", type=int, default=128, help="tokens decoded per prompt")
    return parser.parse_args()


def main() -> None:
    started, options = time.perf_counter(), parse()
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    about = {key: getattr(options, key) for key in ("epochs", "batch", "lr", "vocab", "train", "eval", "new")}
    about |= {"device": torch.cuda.get_device_name(0) if device.type == "cuda" else "cpu", "torch": torch.__version__}
    known = json.loads(options.out.read_text("utf-8")) if options.out.exists() else {"about": about, "cells": []}
    if known["about"] != about:
        sys.exit(f"{options.out} holds cells of other settings: {known['about']}")
    cells: list[dict[str, Any]] = known["cells"]
    world, rig = join(0, 1, device, "", 60), prepare(options, device)
    counts = torch.zeros(rig.config.vocab_size, dtype=torch.int64)
    for sample in rig.samples:
        counts += torch.bincount(sample["input_ids"][sample["loss_mask"] > 0], minlength=counts.numel())
    vocabulary = choose_vocabulary(list(enumerate(counts.tolist())), rig.config.draft_vocab_size, counts.numel())
    teacher = Teacher(rig.head, vocabulary.ids, kernels=row_kernels(device, rig.dtype))
    with_teacher(rig, teacher)
    steps = options.epochs * -(-len(rig.samples) // options.batch)
    longest = 0.0
    for seed in map(int, options.seeds.split(",")):
        for setting in options.settings.split(","):
            if any((cell["setting"], cell["seed"]) == (setting, seed) for cell in cells):
                continue
            begun = time.perf_counter()
            if begun - started + 1.1 * longest > options.budget:
                print("the budget is spent", flush=True)
                break
            session = session_of(rig, world, teacher, vocabulary, setting, seed, steps, options)
            loss, rate = train(session, rig, options, seed)
            cell = {"setting": setting, "seed": seed, "trainLoss": loss, "tokensPerSecond": rate}
            cells.append(cell | evaluate(session, rig, options))
            session.close()
            options.out.write_text(json.dumps({"about": about, "cells": cells}, indent=2) + "\n", "utf-8")
            longest = max(longest, time.perf_counter() - begun)
            print(json.dumps({**cells[-1], "seconds": round(time.perf_counter() - begun, 1)}), flush=True)
    print(table(cells), flush=True)
    leave()


if __name__ == "__main__":
    main()
