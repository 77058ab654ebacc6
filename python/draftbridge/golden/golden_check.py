"""Compare training with golden vectors: `python -m draftbridge.golden_check [--device cuda] [DIR]`. Exits with 1 if one
differs. Both unrolls are compared, in fp32."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.distributed.world import World, choose_device, join, leave
from draftbridge.golden.golden_case import GoldenCase
from draftbridge.training.train_session import TrainSession

LIMIT = 1e-5
# Ten optimiser steps spread what the order of fp32 sums changes; `Verdict.spread` measures by how much.
LATE_LIMIT = 2e-4
COLUMNS = ("ploss", "loss", "acc", "acceptance", "gradients", "first 5", "last 5", "norms", "weights")
_LATE = ("last 5", "norms", "weights")
FIRST = {"ploss": "ploss", "loss": "loss", "acc": "acc", "acceptanceRate": "acceptance"}


@dataclass(frozen=True)
class Run:
    """What ten optimiser steps on a case's batch gave."""

    losses: Tensor  # [10]
    norms: Tensor  # [10], before clipping
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Verdict:
    """Largest relative errors of one file, by column, and between our own fp32 and fp64 runs (`spread`), of whichever
    unroll: they sum in different orders, and that is what the spread is to show."""

    name: str
    errors: dict[str, float]
    spread: dict[str, float]

    @property
    def passed(self) -> bool:
        return all(error <= LIMIT or self.explained(column) for column, error in self.errors.items())

    def explained(self, column: str) -> bool:
        """Is a late error of the size that fp32 rounding gives to our own trajectory."""
        error = self.errors[column]
        return column in _LATE and error <= LATE_LIMIT and error <= 4 * self.spread[column]


def relative(found: Tensor, expected: Tensor) -> float:
    """max |found - expected| / max |expected|; both zero is no error, NaN is an infinite one."""
    found, expected = found.double().cpu(), expected.double().cpu()
    difference = float((found - expected).abs().max())
    scale = float(expected.abs().max())
    error = difference / scale if scale > 0 else difference
    return error if error == error else float("inf")


def worst(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    return max(relative(found, expected) for found, expected in pairs)


def trajectory(
    case: GoldenCase, world: World, dtype: torch.dtype = torch.float32, fused: bool = False
) -> tuple[Run, dict[str, Tensor]]:
    """Train as a run does, step by step. Also returns the metrics of the first step."""
    session = case.session(world, "fsdp", dtype, fused)
    batch, micro = case.batch, case.micro
    rows = []
    for _ in range(case.train["steps"]):
        session.step(batch, micro)
        rows.append(session.read_metrics())
    first = {name: torch.tensor(rows[0][name], dtype=torch.float64) for name in FIRST}
    losses, norms = (torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in ("loss", "gradNorm"))
    weights = {name: shard.detach() for name, shard in session.draft.shards.items()}
    return Run(losses, norms, wholes(session, weights)), first


def wholes(session: TrainSession, shards: dict[str, Tensor]) -> dict[str, Tensor]:
    """Joined from all ranks, on rank 0."""
    joined = {name: session.draft.whole(name, shard) for name, shard in shards.items()}
    return {name: whole for name, whole in joined.items() if whole is not None}


def gradient_error(case: GoldenCase, world: World, fused: bool = False) -> float:
    """Largest error of a parameter's gradient at step 0."""
    session = case.session(world, "fsdp", fused=fused)
    session.add_gradients(case.batch, case.micro)
    found = wholes(session, session.draft.gradients())
    return worst((whole, case.tensors[f"grad.{name}"]) for name, whole in found.items())


def late_errors(found: Run, expected: Run) -> dict[str, float]:
    """Errors of a trajectory's loss, gradient norm and final weights."""
    return {
        "first 5": relative(found.losses[:5], expected.losses[:5]),
        "last 5": relative(found.losses[5:], expected.losses[5:]),
        "norms": relative(found.norms, expected.norms),
        "weights": worst((found.weights[name], weight) for name, weight in expected.weights.items()),
    }


def check(file: Path, world: World) -> tuple[Verdict, Verdict]:
    """Hold one golden file against this program: against its plain and its fused unroll."""
    plain, fused = (_check(file, world, fused) for fused in (False, True))
    spread = {column: max(value, fused.spread[column]) for column, value in plain.spread.items()}
    return replace(plain, spread=spread), replace(fused, spread=spread)


def _check(file: Path, world: World, fused: bool) -> Verdict:
    case = GoldenCase.read(file)
    expected = case.tensors
    run, first = trajectory(case, world, fused=fused)
    exact, _ = trajectory(case, world, torch.float64, fused)
    golden = Run(
        expected["expect.trajectory_loss"],
        expected["expect.trajectory_grad_norm"],
        {name: expected[f"final.{name}"] for name in run.weights},
    )
    errors = {FIRST[name]: relative(value, expected[f"expect.{key}"]) for (name, key), value in _paired(first)}
    errors["gradients"] = gradient_error(case, world, fused)
    name = f"{file.stem}, {'fused' if fused else 'plain'}"
    return Verdict(name, errors | late_errors(run, golden), late_errors(run, exact))


def _paired(first: dict[str, Tensor]) -> list[tuple[tuple[str, str], Tensor]]:
    keys = {"ploss": "ploss", "loss": "loss", "acc": "acc", "acceptanceRate": "acceptance_rate"}
    return [((name, key), first[name]) for name, key in keys.items()]


def table(verdicts: Sequence[Verdict]) -> str:
    """One line per file and unroll, and under it how far our fp32 lies from our fp64."""
    lines = ["file".ljust(28) + "".join(column.rjust(12) for column in COLUMNS)]
    for verdict in verdicts:
        state = "" if verdict.passed else "  FAILED"
        lines.append(verdict.name.ljust(28) + "".join(f"{verdict.errors[c]:12.1e}" for c in COLUMNS) + state)
        spread = "".join(f"{verdict.spread[c]:12.1e}" if c in verdict.spread else " " * 12 for c in COLUMNS)
        lines.append("  fp32 against fp64".ljust(28) + spread)
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="goldens")
    parser.add_argument("folder", nargs="?", default="test/golden")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    given = parser.parse_args(arguments)
    folder = Path(given.folder)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        print(f"There are no golden files (*.safetensors) in {folder}.", file=sys.stderr)
        return 64
    torch.set_num_threads(1)
    try:
        world = join(0, 1, choose_device(given.device, 0), "", 60)
        verdicts = [verdict for file in files for verdict in check(file, world)]
    except BridgeError as exc:
        print(exc, file=sys.stderr)
        return 65
    finally:
        leave()
    print(table(verdicts))
    print(f"Limit {LIMIT:.0e}. {', '.join(_LATE)}: also {LATE_LIMIT:.0e}, if our own fp32 is as far from our fp64.")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
