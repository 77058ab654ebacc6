"""A section of the configuration becomes a dataclass by one rule, and whatever does not fit is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from draftbridge.bridge.errors import BridgeError
from draftbridge.settings.section import from_section, section_fields


@dataclass(frozen=True)
class Inner:
    kl_scale: float


@dataclass(frozen=True)
class Outer:
    max_length: int
    betas: tuple[float, float]
    inner: Inner | None
    batch: dict[str, int]
    later: str | None = None


GIVEN: dict[str, Any] = {"maxLength": 4, "betas": [0.9, 0.999], "inner": {"klScale": 2.5}, "batch": {"samples": 1}}


def test_keys_become_fields_of_the_same_words_at_every_depth() -> None:
    assert from_section(Outer, GIVEN) == Outer(4, (0.9, 0.999), Inner(2.5), {"samples": 1}, None)
    assert from_section(Outer, {**GIVEN, "inner": None, "later": "x"}) == Outer(
        4, (0.9, 0.999), None, GIVEN["batch"], "x"
    )
    assert section_fields(Outer) == dict.fromkeys(("max_length", "betas", "batch", "later")) | {
        "inner": {"kl_scale": None}
    }


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({key: value for key, value in GIVEN.items() if key != "maxLength"}, "train.max_length"),
        ({**GIVEN, "told": True}, "train.told"),
        ({**GIVEN, "inner": {}}, "train.inner.kl_scale"),
        ({**GIVEN, "inner": {"klScale": 1, "klscale": 1}}, "train.inner.klscale"),
    ],
)
def test_a_key_that_one_side_does_not_know_is_refused(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(BridgeError) as caught:
        from_section(Outer, changed, "train")
    assert (caught.value.code, caught.value.details["field"]) == ("CONFIG_INVALID", field)
