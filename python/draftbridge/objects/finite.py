"""States that hold NaN or infinity are found before they are stored: one of them would spoil every weight of the draft.

A sum that is finite cannot hold a value that is not, and takes a fiftieth of the time of looking at each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict


def require_finite(sample: TensorDict, names: Iterable[str], file: str) -> None:
    """FEATURE_INVALID when one of these tensors holds a value that is no number."""
    refuse_not_finite({name: sample[name] for name in names if not bool(torch.isfinite(sample[name].sum()))}, file)


def refuse_not_finite(suspects: Mapping[str, torch.Tensor], file: str) -> None:
    """FEATURE_INVALID that names the first bad row and column of a tensor [n, width]; nothing if only sums were too
    large.

    The widest tensor is looked at first: it holds the states of several layers, and what goes wrong in an early layer
    goes wrong in the last one too.
    """
    for name, tensor in sorted(suspects.items(), key=lambda item: -item[1].shape[-1]):
        bad = ~torch.isfinite(tensor)
        if not bool(bad.any()):
            continue
        row = int(bad.any(-1).nonzero()[0])
        found = f"{int(bad.sum())} values that are NaN or infinite, the first at token {row}"
        raise BridgeError(
            "FEATURE_INVALID",
            "the features hold values that are no numbers",
            file=file,
            field=name,
            found=found,
            fix="make the file again, or take it out of features.files",
            column=int(bad.flatten(0, -2).any(0).nonzero()[0]),
        )
