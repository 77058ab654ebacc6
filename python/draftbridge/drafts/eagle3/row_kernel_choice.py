"""Which kernels do an unroll's work on single rows."""

from __future__ import annotations

import os

import torch

from draftbridge.device import kernel_builds
from draftbridge.device.kernel_cache import ensure_kernel_cache
from draftbridge.drafts.eagle3.kernels import torch_rows
from draftbridge.drafts.eagle3.kernels.row_kernels import RowKernels


def row_kernels(device: torch.device, dtype: torch.dtype) -> RowKernels:
    """The kernels for frozen weights of this dtype. Triton is loaded only where it is used."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return torch_rows
    ensure_kernel_cache(os.environ)
    from draftbridge.drafts.eagle3.kernels import triton_rows

    kernel_builds.watch()
    return triton_rows
