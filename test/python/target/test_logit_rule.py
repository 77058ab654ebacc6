"""Training takes the rule of logits from the target's files, and refuses a capture contract that says another."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.drafts.eagle3.frozen import rule_for
from draftbridge.settings.capture_contract import LogitRule
from draftbridge.target.logit_rule import logit_rule, rule_json
from draftbridge.target.target_weights import TargetWeights

EMBED, HEAD = torch.ones(8, 4), torch.zeros(8, 4)
TIED, OWN = TargetWeights(EMBED, EMBED, None), TargetWeights(EMBED, HEAD, None)


def folder(place: Path, **config: Any) -> str:
    (place / "config.json").write_text(json.dumps(config))
    return str(place)


@pytest.mark.parametrize(
    ("config", "weights", "expected"),
    [
        ({"model_type": "llama"}, OWN, {}),
        ({"model_type": "llama", "tie_word_embeddings": True}, TIED, {}),
        ({"model_type": "llama"}, TIED, {"tied": True}),
        ({"model_type": "llama", "tie_word_embeddings": True}, OWN, {"tied": False}),
        ({"model_type": "granite", "logits_scaling": 16}, OWN, {"scale": 1 / 16}),
        ({"model_type": "hyperclovax", "logits_scaling": 16}, OWN, {"scale": 16}),
        # The class's own factor, where the file names none.
        ({"model_type": "cohere", "tie_word_embeddings": True}, TIED, {"scale": 0.0625}),
        ({"model_type": "gemma2", "tie_word_embeddings": True}, TIED, {"cap": 30}),
        ({"model_type": "gemma2", "tie_word_embeddings": True, "final_logit_softcapping": None}, TIED, {}),
    ],
)
def test_the_rule_of(config: dict[str, Any], weights: TargetWeights, expected: Any, tmp_path: Path) -> None:
    assert rule_json(logit_rule(folder(tmp_path, **config), weights)) == expected


def inputs(model: str, logits: LogitRule | None) -> Any:
    return SimpleNamespace(target=SimpleNamespace(model=model), contract=SimpleNamespace(logits=logits))


def test_an_older_contract_without_a_rule_trains_by_the_targets_own(tmp_path: Path) -> None:
    model = folder(tmp_path, model_type="granite", logits_scaling=8)
    assert rule_for(inputs(model, None), OWN) == LogitRule(scale=0.125)


def test_a_contract_with_the_same_rule_fits_whatever_its_norm(tmp_path: Path) -> None:
    model = folder(tmp_path, model_type="granite", logits_scaling=8)
    assert rule_for(inputs(model, LogitRule(scale=0.125, norm="layer")), OWN) == LogitRule(scale=0.125)


@pytest.mark.parametrize("stated", [LogitRule(scale=0.25), LogitRule(scale=0.125, cap=30.0), LogitRule(norm="layer")])
def test_a_contract_with_another_rule_is_refused(stated: LogitRule, tmp_path: Path) -> None:
    model = folder(tmp_path, model_type="granite", logits_scaling=8)
    with pytest.raises(BridgeError) as caught:
        rule_for(inputs(model, stated), OWN)
    assert caught.value.code == "CONTRACT_MISMATCH"
    assert "0.125" in caught.value.details["found"]
