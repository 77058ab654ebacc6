"""States that hold NaN or infinity are found before they are stored: one of them would spoil every weight of the draft.

A sum that is finite cannot hold a value that is not, and takes a fiftieth of the time of looking at each.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict


def require_finite(sample: TensorDict, names: Iterable[str], file: str) -> None:
    """FEATURE_INVALID when one of these tensors holds a value that is no number."""
    for name in names:
        if not bool(torch.isfinite(sample[name].sum())):
            refuse_not_finite(name, sample[name], file)


def refuse_not_finite(name: str, tensor: torch.Tensor, file: str) -> None:
    """FEATURE_INVALID that names the first bad row of `tensor` [n, width]; nothing if only its sum was too large."""
    bad = ~torch.isfinite(tensor)
    if bool(bad.any()):
        row = int(bad.any(-1).nonzero()[0])
        found = f"{int(bad.sum())} values that are NaN or infinite, the first at token {row}"
        raise BridgeError(
            "FEATURE_INVALID",
            "the features hold values that are no numbers",
            file=file,
            field=name,
            found=found,
            fix="make the file again, or take it out of features.files",
        )
