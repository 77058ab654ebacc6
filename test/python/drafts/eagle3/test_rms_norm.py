"""RMSNorm: the definition, and where it rounds."""

from __future__ import annotations

import pytest
import torch
from draftbridge.drafts.eagle3.rms_norm import RMSNorm, rms_norm


def test_is_the_definition_in_fp64() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(3, 5, 16, dtype=torch.float64), torch.randn(16, dtype=torch.float64)
    expected = torch.stack(
        [row / torch.sqrt((row * row).sum() / 16 + 1e-5) * weight for row in x.reshape(-1, 16)]
    ).view_as(x)
    torch.testing.assert_close(rms_norm(x, weight, 1e-5), expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounds_the_normed_value_and_then_its_product_with_the_weight(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x, weight = (torch.randn(4, 64) * 300).to(dtype), torch.randn(64).to(dtype)
    # The squares of these do not fit into fp16: the statistics must be wider.
    normed = (x.double() / (x.double().square().mean(-1, keepdim=True) + 1e-6).sqrt()).float().to(dtype)
    found = rms_norm(x, weight, 1e-6)
    assert found.dtype == dtype
    assert torch.equal(found, weight * normed)


def test_the_module_starts_at_one_and_trains_its_weight() -> None:
    norm = RMSNorm(16, 1e-6)
    x = torch.randn(2, 16)
    assert torch.equal(norm(x), rms_norm(x, torch.ones(16), 1e-6))
    norm(x).sum().backward()
    assert norm.weight.grad is not None and norm.weight.grad.abs().max() > 0
