"""Training reproduces the reference's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from draftbridge.distributed.world import World
from draftbridge.golden.golden_case import GoldenCase
from draftbridge.golden.golden_check import LIMIT, Verdict, check, main, relative

FILES = sorted((Path(__file__).parents[2] / "golden").glob("*.safetensors"))


def test_all_six_files_are_there() -> None:
    assert len(FILES) == 6


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_losses_metrics_gradients_and_ten_steps_equal_the_golden(file: Path, world: World) -> None:
    for verdict in check(file, world):
        late = {"weights"}
        assert {column: error for column, error in verdict.errors.items() if error > LIMIT and column not in late} == {}
        assert verdict.passed, f"weights {verdict.errors['weights']:.1e}, fp32 spread {verdict.spread['weights']:.1e}"


def test_a_wrong_number_fails() -> None:
    good = dict.fromkeys(("ploss", "last 5", "norms", "weights"), 1e-7)
    spread = dict.fromkeys(("first 5", "last 5", "norms", "weights"), 1e-5)
    assert Verdict("", good, spread).passed
    assert not Verdict("", good | {"ploss": 2e-5}, spread).passed
    assert Verdict("", good | {"weights": 3e-5}, spread).passed
    assert not Verdict("", good | {"weights": 3e-5}, dict.fromkeys(spread, 1e-7)).passed
    assert relative(torch.tensor([torch.nan]), torch.ones(1)) == float("inf")


def test_both_ways_to_share_a_draft_train_alike(world: World) -> None:
    case = GoldenCase.read(FILES[0])
    norms = []
    for kind in ("fsdp", "replicate"):
        session = case.session(world, kind)
        session.step(case.batch, case.micro)
        session.step(case.batch, case.micro)
        norms.append(session.read_metrics()["gradNorm"])
    assert norms[0] == norms[1]


def test_a_folder_without_goldens_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 64
    assert str(tmp_path) in capsys.readouterr().err
