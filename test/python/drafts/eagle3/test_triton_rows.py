"""The Triton kernels against the plain ones. Without a GPU they run in Triton's interpreter: see conftest.py."""

from __future__ import annotations

import pytest
import torch
from draftbridge.drafts.eagle3.kernels import torch_rows, triton_rows
from draftbridge.drafts.eagle3.kernels.row_kernels import (
    Best,
    EntropyRows,
    Heads,
    HeadTensors,
    OwnKeys,
    RotaryTable,
    RowKernels,
)
from torch import Tensor

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPES = [torch.float32, torch.bfloat16]
HEADS = Heads(6, 2, 2, 12)
Pair = tuple[Tensor, Tensor]


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, dtype=torch.float32).to(DEVICE, dtype)


def integers(high: int, *shape: int) -> Tensor:
    return torch.randint(0, high, shape, device=DEVICE)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(5)


def same(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """Half precision may round the other way; what is accumulated is compared by its size."""
    limit = 2e-2 if dtype == torch.bfloat16 else 2e-5
    scale = float(expected.float().abs().max()) + 1e-6
    assert bool(torch.isfinite(found.float()).all())
    assert float((found.float() - expected.float()).abs().max()) / scale < limit


def pair(tensor: Tensor) -> Pair:
    return tensor, tensor.clone()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rms_norm(dtype: torch.dtype) -> None:
    x, weight = random(9, 20, dtype=dtype), random(20, dtype=dtype)
    found, expected = pair(torch.full_like(x, torch.nan))
    mine, theirs = triton_rows.rms_norm(x, weight, 1e-5, found), torch_rows.rms_norm(x, weight, 1e-5, expected)
    same(found, expected, dtype)
    same(mine, theirs, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("residual", [True, False])
def test_rms_norm_backward(dtype: torch.dtype, residual: bool) -> None:
    x, grad, weight, rest = (random(*shape, dtype=dtype) for shape in ((9, 20), (9, 20), (20,), (9, 20)))
    scale = torch_rows.rms_norm(x, weight, 1e-5, torch.empty_like(x))
    (mine, theirs), (out, wanted) = pair(random(20)), pair(torch.full_like(x, torch.nan))
    triton_rows.rms_norm_backward(grad, x, scale, weight, mine, rest if residual else None, out)
    torch_rows.rms_norm_backward(grad, x, scale, weight, theirs, rest if residual else None, wanted)
    same(out, wanted, dtype)
    same(mine, theirs, dtype)
    triton_rows.rms_norm_weight_grad(grad, x, scale, mine)
    torch_rows.rms_norm_weight_grad(grad, x, scale, theirs)
    same(mine, theirs, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rms_norm_of_rows_that_lie_apart(dtype: torch.dtype) -> None:
    weight, wholes = random(20, dtype=dtype), [random(9, 60, dtype=dtype) for _ in range(2)]
    middle, by_middle = (whole[:, 20:40] for whole in wholes)
    found, expected = pair(torch.full_like(wholes[0], 3.0))
    scale = triton_rows.rms_norm(middle, weight, 1e-5, found[:, 20:40])
    same(scale, torch_rows.rms_norm(middle, weight, 1e-5, expected[:, 20:40]), torch.float32)
    same(found, expected, dtype)
    mine, theirs = pair(random(20))
    triton_rows.rms_norm_weight_grad(by_middle, middle, scale, mine)
    torch_rows.rms_norm_weight_grad(by_middle, middle, scale, theirs)
    same(mine, theirs, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernels", [triton_rows, torch_rows], ids=["triton", "torch"])
def test_the_gradient_of_rms_norm_may_replace_what_it_is_made_of(dtype: torch.dtype, kernels: RowKernels) -> None:
    x, grad, weight = (random(*shape, dtype=dtype) for shape in ((9, 20), (9, 20), (20,)))
    scale = torch_rows.rms_norm(x, weight, 1e-5, torch.empty_like(x))
    (mine, theirs), apart = pair(random(20)), torch.empty_like(x)
    kernels.rms_norm_backward(grad.clone(), x, scale, weight, theirs, None, apart)
    kernels.rms_norm_backward(grad, x, scale, weight, mine, None, grad)
    assert torch.equal(grad, apart)
    assert torch.equal(mine, theirs)


def table(rows: int) -> RotaryTable:
    angles = random(20, HEADS.size // 2)
    return RotaryTable(angles.cos(), angles.sin(), integers(17, rows), 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("heads", [HEADS, Heads(0, 2, 2, 12), Heads(6, 0, 0, 12)], ids=str)
@pytest.mark.parametrize("scattered", [True, False])
def test_rotate(dtype: torch.dtype, heads: Heads, scattered: bool) -> None:
    rows = torch.tensor([7, 0, 3, 4, 1], device=DEVICE) if scattered else None
    hidden, token, tokens, turned = random(5, heads.width), random(8, heads.width + 4)[:, 4:], integers(8, 5), table(5)
    results = []
    for kernels in (triton_rows, torch_rows):
        query, key, value = (torch.full((8, count * 12), torch.nan, dtype=dtype, device=DEVICE) for count in (6, 2, 2))
        key, value = key[:5], value[:5]
        target = (query if scattered else query[:5]) if heads.query else None
        kernels.rotate(
            *(hidden, token, tokens, turned, heads),
            HeadTensors(target, rows, *((key, value) if heads.key else (None, None))),
        )
        touched = range(5) if rows is None else rows.tolist()
        results.append([query[touched]] * bool(heads.query) + [key, value] * bool(heads.key))
        if heads.query:
            assert bool(query[[row for row in range(8) if row not in touched]].isnan().all())
    for found, expected in zip(*results, strict=True):
        same(found, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scattered", [True, False])
@pytest.mark.parametrize("given", ["all", "queries", "keys"])
def test_rotate_backward(dtype: torch.dtype, scattered: bool, given: str) -> None:
    rows = torch.tensor([7, 0, 3, 4, 1], device=DEVICE) if scattered else None
    heads = Heads(0, 2, 2, 12) if given == "keys" else HEADS
    query, own, keys = random(8, 72, dtype=dtype), random(5, 72), (random(5, 24), random(5, 24))
    tokens, turned = torch.tensor([2, 0, 6, 5, 1], device=DEVICE), table(5)
    results = []
    start = random(8, heads.width)
    for kernels in (triton_rows, torch_rows):
        hidden = torch.full((5, heads.width), torch.nan, dtype=dtype, device=DEVICE)
        token = start.clone()
        queries = (None, None) if given == "keys" else (query if scattered else query[:5], rows)
        grads = HeadTensors(*queries, *((None, None) if given == "queries" else keys), own if given == "all" else None)
        kernels.rotate_backward(grads, tokens, turned, heads, hidden, token)
        results.append((hidden, token))
    for found, expected in zip(*results, strict=True):
        same(found, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gathered", [True, False])
def test_merge_own(dtype: torch.dtype, gathered: bool) -> None:
    rows = torch.tensor([7, 0, 3, 4, 1], device=DEVICE) if gathered else None
    count = 8 if gathered else 5
    query, given = random(count, 72, dtype=dtype), random(5, 72, dtype=dtype)
    own_parts = [random(3, 5, 24, dtype=dtype) for _ in range(2)] + [random(3, 5, 24) for _ in range(2)]
    out, total = random(count, 72, dtype=dtype), random(6, count)
    results = []
    for kernels in (triton_rows, torch_rows):
        own = OwnKeys(*(part.clone() for part in own_parts), 2, 12)
        joined, whole = out.clone(), total.clone()
        kernels.merge_own(query, rows, own, joined, whole)
        spread = torch.zeros(count, 72, dtype=dtype, device=DEVICE)
        by_query = torch.full((5, 72), torch.nan, device=DEVICE)
        kernels.merge_own_backward(given, query, rows, own, joined, whole, spread, by_query)
        results.append((joined, whole, spread, by_query, own.key_grads, own.value_grads))
    for found, expected in zip(*results, strict=True):
        same(found, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_silu_mul(dtype: torch.dtype) -> None:
    both, grad = random(4, 2 * 2060, dtype=dtype), random(4, 2060, dtype=dtype)
    found, expected = pair(torch.full_like(grad, torch.nan))
    triton_rows.silu_mul(both, found)
    torch_rows.silu_mul(both, expected)
    same(found, expected, dtype)
    mine, theirs = pair(both)
    triton_rows.silu_mul_backward(grad, mine)
    torch_rows.silu_mul_backward(grad, theirs)
    same(mine, theirs, dtype)


def entropy_rows(dtype: torch.dtype, width: int) -> EntropyRows:
    teacher = random(4, width, dtype=dtype) * 3
    draft_logsumexp = torch_rows.row_logsumexp(teacher)
    return EntropyRows(
        teacher=teacher,
        draft_logsumexp=draft_logsumexp,
        teacher_logsumexp=draft_logsumexp + 0.3,
        index=torch.tensor([2, -1, 0, 0, 3, 1, 1], device=DEVICE),
        trained=torch.tensor([1, 0, 1, 1, 0, 1, 1], device=DEVICE).bool(),
        best=teacher.float().argmax(-1)[torch.tensor([2, 0, 0, 0, 3, 1, 1], device=DEVICE)],
        stats=torch.full((3, 7), torch.nan, device=DEVICE),
        total=torch.zeros(7, device=DEVICE),
        lesser=torch.zeros(7, device=DEVICE),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [50, 5003])
@pytest.mark.parametrize("by_overlap", [True, False])
def test_entropy_and_its_gradient(dtype: torch.dtype, width: int, by_overlap: bool) -> None:
    logits = random(7, width, dtype=dtype) * 3
    rows = entropy_rows(dtype, width)
    logits[2], logits[5] = rows.teacher[0], rows.teacher[1]
    weights = random(7), random(7) if by_overlap else None
    results = []
    for kernels in (triton_rows, torch_rows):
        mine = EntropyRows(**{name: value.clone() for name, value in vars(rows).items()})
        gradient = logits.clone()
        if by_overlap:
            kernels.entropy(gradient, mine)
            assert torch.equal(gradient, logits)
            kernels.entropy_grad(gradient, mine, *weights)
        else:
            kernels.entropy(gradient, mine, weights[0])
        kept = mine.trained
        results.append((mine.stats, mine.total[kept], mine.lesser[kept], gradient))
    for found, expected in zip(*results, strict=True):
        same(found, expected, dtype)
    assert results[1][0][2].sum() >= 2, "some row must be a hit"
    same(triton_rows.row_logsumexp(logits), torch_rows.row_logsumexp(logits), torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_fold(dtype: torch.dtype) -> None:
    slices = [random(5, width, dtype=dtype) for width in (6000, 50)]
    # A tie across the slices, and one within a slice: the lowest token wins both.
    slices[0][1, 77] = slices[1][1, 3] = 9
    slices[0][2, 4500] = slices[0][2, 300] = 9
    slices[1][3, 20] = 9
    columns = torch.tensor([2, 3, 4099, 5999], device=DEVICE), torch.tensor([0, 49], device=DEVICE)
    results = []
    for kernels in (triton_rows, torch_rows):
        lowest = torch.full((5,), -torch.inf, device=DEVICE)
        best = Best(lowest, torch.zeros(5, dtype=torch.int64, device=DEVICE), lowest.clone())
        draft = torch.full((5, 6), torch.nan, dtype=dtype, device=DEVICE)
        kernels.fold(slices[0], 0, best, columns[0], draft, 0)
        kernels.fold(slices[1], 6000, best, columns[1], draft, 4)
        results.append((draft, best.peak, best.total))
        assert best.token[1:4].tolist() == [77, 300, 6020]
    for found, expected in zip(*results, strict=True):
        same(found, expected, torch.float32)
