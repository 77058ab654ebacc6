"""The first bad layer of a sample's states."""

from __future__ import annotations

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.objects.finite import require_finite

NAMES = ("hidden_state", "aux_hidden_state")


def sample() -> dict[str, torch.Tensor]:
    return {"hidden_state": torch.zeros(4, 2), "aux_hidden_state": torch.zeros(4, 6)}


def refused(given: dict[str, torch.Tensor]) -> dict[str, object]:
    with pytest.raises(BridgeError) as caught:
        require_finite(given, NAMES, "a.ckpt")
    assert "column" not in str(caught.value)
    return caught.value.details


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_names_the_state_and_the_first_bad_row_and_column(value: float) -> None:
    given = sample()
    given["aux_hidden_state"][3, 2] = value
    given["aux_hidden_state"][1, 5] = value
    details = refused(given)
    assert (details["field"], details["column"]) == ("aux_hidden_state", 2)
    assert details["found"] == "2 values that are NaN or infinite, the first at token 1"


def test_the_layers_before_the_last_one_are_named_first() -> None:
    given = sample()
    given["hidden_state"][0, 1] = float("nan")
    assert (refused(given)["field"], refused(given)["column"]) == ("hidden_state", 1)
    given["aux_hidden_state"][2, 4] = float("nan")
    assert (refused(given)["field"], refused(given)["column"]) == ("aux_hidden_state", 4)


def test_a_sum_that_is_too_large_is_no_bad_value() -> None:
    given = sample()
    given["hidden_state"][:, :] = torch.finfo(torch.float32).max
    assert not bool(torch.isfinite(given["hidden_state"].sum()))
    require_finite(given, NAMES, "a.ckpt")
