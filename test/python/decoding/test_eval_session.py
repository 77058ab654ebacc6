"""What an evaluation session takes from files, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from decoding_rig import AUX_LAYERS, CONFIG, VOCAB, prompts, tiny_target
from draftbridge.bridge.errors import BridgeError
from draftbridge.decoding.eval_session import EvalSession, end_tokens
from draftbridge.drafts.draft_files import save_draft
from draftbridge.drafts.eagle3.draft import DraftConfig, initial_draft
from draftbridge.drafts.eagle3.eagle3 import Eagle3, check_offsets
from draftbridge.drafts.vocabulary import Vocabulary
from draftbridge.settings.model_settings import TargetSettings


def saved_draft(folder: Path, **changes: int) -> Path:
    config = DraftConfig(**{**vars(CONFIG), **changes})
    weights = dict(initial_draft(config, seed=2).named_parameters())
    d2t = torch.zeros(config.draft_vocab_size, dtype=torch.int64)
    folder.mkdir()
    vocabulary = Vocabulary(d2t, torch.ones(config.vocab_size, dtype=torch.bool))
    save_draft(folder, Eagle3().describe(config, {}, vocabulary), weights)
    return folder


@pytest.fixture(scope="module")
def target_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("target")
    tiny_target().save_pretrained(folder)
    return folder


def open_session(target: Path, draft: Path) -> EvalSession:
    settings = TargetSettings(str(target), "float32", None)
    return EvalSession.open(settings, Eagle3(), str(draft), AUX_LAYERS, torch.float32)


def test_a_session_decodes_from_files_and_takes_its_hooks_away(target_dir: Path, tmp_path: Path) -> None:
    session = open_session(target_dir, saved_draft(tmp_path / "draft"))
    prompt = prompts(2)[1]
    assert session.decode(prompt, 12, 3).output_ids == session.decode(prompt, 12, 0).output_ids
    layers: Any = session._target.model.get_decoder().layers  # type: ignore[no-untyped-call]
    assert any(layer._forward_hooks for layer in layers)
    session.close()
    assert not any(layer._forward_hooks for layer in layers)


def test_a_draft_that_does_not_fit_is_refused_with_its_field(target_dir: Path, tmp_path: Path) -> None:
    for field, changes in {"hidden_size": {"hidden_size": 16}, "vocab_size": {"vocab_size": 128}}.items():
        with pytest.raises(BridgeError) as caught:
            open_session(target_dir, saved_draft(tmp_path / field, **changes))
        assert caught.value.code == "CHECKPOINT_INVALID"
        assert caught.value.details["field"] == field
        assert caught.value.details["file"] == str(tmp_path / field / "config.json")
    with pytest.raises(BridgeError, match="no draft here") as caught:
        open_session(target_dir, tmp_path / "nowhere")
    assert caught.value.code == "CHECKPOINT_INVALID"


def test_a_vocabulary_map_that_leaves_the_vocabulary_is_refused() -> None:
    check_offsets(Path("f"), torch.tensor([0, 3, 3]), 6)
    for offsets in ([0, 3, 4], [-1, 0, 0]):
        with pytest.raises(BridgeError, match="d2t"):
            check_offsets(Path("f"), torch.tensor(offsets), 6)


def test_prompts_that_the_target_cannot_read_are_refused(target_dir: Path, tmp_path: Path) -> None:
    session = open_session(target_dir, saved_draft(tmp_path / "draft"))
    for prompt, new, field in (([1, VOCAB], 8, "input_ids"), ([1] * 250, 8, "input_ids, eval.maxNewTokens")):
        with pytest.raises(BridgeError) as caught:
            session.decode(prompt, new, 3)
        assert (caught.value.code, caught.value.details["field"]) == ("CONFIG_INVALID", field)
    assert session.decode([1] * 248, 8, 3).tokens == 7


def test_end_tokens_are_those_of_the_generation_settings_first() -> None:
    model = tiny_target()
    assert end_tokens(model) == []
    model.config.eos_token_id = 3
    assert end_tokens(model) == [3]
    model.generation_config.eos_token_id = [4, 5]
    assert end_tokens(model) == [4, 5]
