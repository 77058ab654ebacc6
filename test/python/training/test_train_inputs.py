"""What training reads: token counts, the target's weights, samples, drafts; and the operations that Node calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from draftbridge import host
from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TABLE
from draftbridge.drafts.draft_files import load_draft, save_draft
from draftbridge.drafts.eagle3.draft import DraftConfig, initial_draft
from draftbridge.drafts.eagle3.eagle3 import Eagle3
from draftbridge.drafts.vocabulary import choose_vocabulary, read_counts
from draftbridge.settings.model_settings import DraftSettings, TargetSettings
from draftbridge.target.target_weights import load_target_weights
from safetensors.torch import save_file
from small_case import (
    CONFIG,
    CONTRACT,
    LAYOUT,
    MASKS,
    OPTIMIZER,
    RAW_CONFIG,
    SETTINGS,
    SmallCase,
    as_section,
    ttt_settings,
)
from transformers import AutoModelForCausalLM


def refused(code: str, work: Any) -> dict[str, str]:
    with pytest.raises(BridgeError) as caught:
        work()
    assert caught.value.code == code
    return caught.value.details


def target_folder(folder: Path, case: SmallCase, tied: bool = False, parts: int = 1) -> Path:
    """A model folder that holds what training reads, in one file or two with an index."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": tied}))
    norm = torch.ones(CONFIG.hidden_size)
    tensors = {"model.embed_tokens.weight": case.embedding, "model.norm.weight": norm}
    if not tied:
        tensors["lm_head.weight"] = case.head
    if parts == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names = {name: f"model-{index}.safetensors" for index, name in enumerate(tensors)}
    for name, file in names.items():
        save_file({name: tensors[name]}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return folder


def test_vocabulary_takes_the_most_frequent_and_breaks_ties_by_id() -> None:
    counts = [(9, 5), (2, 7), (8, 5), (4, 5), (6, 0)]
    vocabulary = choose_vocabulary(counts, 3, 12)
    assert vocabulary.ids.tolist() == [2, 4, 8]
    assert vocabulary.d2t.tolist() == [2, 3, 6]
    assert vocabulary.t2d.nonzero().flatten().tolist() == [2, 4, 8]
    assert choose_vocabulary(counts[::-1], 3, 12).ids.tolist() == [2, 4, 8]


def test_vocabulary_is_filled_up_with_unseen_ids_from_zero() -> None:
    assert choose_vocabulary([(9, 5), (1, 7), (3, 0)], 6, 12).ids.tolist() == [0, 1, 2, 3, 4, 9]
    assert choose_vocabulary([], 4, 4).d2t.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("line", ["[40, 1]", "[-1, 1]", "[1]", '{"a": 1}', "nonsense", "[1, -2]", "7"])
def test_a_bad_line_of_counts_is_named(line: str, tmp_path: Path) -> None:
    (file := tmp_path / "token-counts.ndjson").write_text(f"[3, 9]\n{line}\n")
    found = refused("MANIFEST_INVALID", lambda: read_counts(file, 40))
    assert (found["file"], found["field"]) == (str(file), "line 2")


@pytest.mark.parametrize("parts", [1, 2])
def test_target_weights_come_from_one_file_or_many(parts: int, tmp_path: Path) -> None:
    case = SmallCase(torch.bfloat16)
    weights = load_target_weights(target_folder(tmp_path / "model", case, parts=parts))
    assert torch.equal(weights.embed, case.embedding)
    assert torch.equal(weights.head, case.head)
    assert weights.norm is not None


def test_a_tied_target_uses_its_embedding_as_head(tmp_path: Path) -> None:
    case = SmallCase(torch.float32)
    weights = load_target_weights(target_folder(tmp_path / "model", case, tied=True))
    assert weights.head is weights.embed


def test_missing_parts_of_a_target_are_named(tmp_path: Path) -> None:
    case = SmallCase(torch.float32)
    assert refused("CONFIG_INVALID", lambda: load_target_weights(tmp_path / "none"))["field"] == "target.model"
    folder = target_folder(tmp_path / "split", case, parts=2)
    (folder / "model-0.safetensors").unlink()
    details = refused("CONFIG_INVALID", lambda: load_target_weights(folder))
    assert details["file"].endswith("model-0.safetensors")
    folder = target_folder(tmp_path / "headless", case, tied=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    assert "lm_head" in refused("CONFIG_INVALID", lambda: load_target_weights(folder))["found"]
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not really")
    refused("CONFIG_INVALID", lambda: load_target_weights(tmp_path / "broken.gguf"))


def small_gguf(file: Path, tied: bool) -> Path:
    """A one-layer llama as a `.gguf`, matrices in Q4_1 like the quickstart's model."""
    sizes = {"heads": 2, "hidden": 64, "mlp": 96, "vocab": 80}
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(sizes["hidden"])
    writer.add_feed_forward_length(sizes["mlp"])
    writer.add_head_count(sizes["heads"])
    writer.add_head_count_kv(sizes["heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(sizes["vocab"])
    generator = torch.Generator().manual_seed(0)

    def add(name: str, *shape: int) -> None:
        values = torch.randn(shape, generator=generator).numpy()
        kind = gguf.GGMLQuantizationType.Q4_1 if len(shape) == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    hidden, mlp = sizes["hidden"], sizes["mlp"]
    add("token_embd.weight", sizes["vocab"], hidden)
    add("output_norm.weight", hidden)
    if not tied:
        add("output.weight", sizes["vocab"], hidden)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        add(f"blk.0.{name}.weight", hidden, hidden)
    for name, shape in {"ffn_gate": (mlp, hidden), "ffn_up": (mlp, hidden), "ffn_down": (hidden, mlp)}.items():
        add(f"blk.0.{name}.weight", *shape)
    add("blk.0.attn_norm.weight", hidden)
    add("blk.0.ffn_norm.weight", hidden)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.mark.parametrize("tied", [True, False])
def test_gguf_weights_equal_what_transformers_loads(tied: bool, tmp_path: Path) -> None:
    file = small_gguf(tmp_path / "model.gguf", tied)
    weights = load_target_weights(file)
    model = AutoModelForCausalLM.from_pretrained(str(tmp_path), gguf_file=file.name, dtype=torch.float32)
    assert torch.equal(weights.embed, model.get_input_embeddings().weight)
    assert torch.equal(weights.head, model.get_output_embeddings().weight)
    assert (weights.head is weights.embed) == tied
    assert weights.norm is not None
    assert torch.equal(weights.norm, model.model.norm.weight)


def test_samples_are_cut_and_joined_end_to_end() -> None:
    case = SmallCase(torch.float32)
    samples = [case.sample(mask) for mask in MASKS]
    batch = LAYOUT.collate(samples, 9)
    assert batch.lengths == (9, 7)
    assert batch.positions == 18
    assert torch.equal(batch.states["aux_hidden_state"][9:], samples[1]["aux_hidden_state"])
    assert torch.equal(batch.input_ids[:9], samples[0]["input_ids"][:9])
    assert batch.loss_tokens == 4 + 3, "the last entry of a cut sample is no loss token either"


def test_samples_that_do_not_go_together_are_refused() -> None:
    case = SmallCase(torch.float32)
    good = case.sample(MASKS[0])

    def field(**changes: torch.Tensor) -> str:
        return refused("FEATURE_INVALID", lambda: LAYOUT.collate([good, {**case.sample(MASKS[1]), **changes}], 64))[
            "field"
        ]

    assert field(loss_mask=torch.ones(5, dtype=torch.int64)) == "loss_mask"
    assert field(loss_mask=torch.ones(7)) == "loss_mask"
    assert field(hidden_state=torch.zeros(7, 15)) == "hidden_state"
    assert field(hidden_state=torch.zeros(7, 16, dtype=torch.bfloat16)) == "hidden_state"
    assert field(aux_hidden_state=torch.zeros(7, 47)) == "aux_hidden_state"
    assert field(**{name: tensor[:0] for name, tensor in good.items()}) == "input_ids"
    missing = {name: tensor for name, tensor in good.items() if name != "hidden_state"}
    assert refused("FEATURE_INVALID", lambda: LAYOUT.collate([missing], 64))["field"] == "hidden_state"


def test_a_draft_survives_its_files_in_bf16(tmp_path: Path) -> None:
    case = SmallCase(torch.bfloat16)
    draft = case.draft()
    description = Eagle3().describe(CONFIG, RAW_CONFIG, case.vocabulary)
    save_draft(tmp_path, description, dict(draft.named_parameters()))
    loaded = load_draft(tmp_path, torch.bfloat16, Eagle3())
    assert torch.equal(loaded.constants["d2t"], case.vocabulary.d2t)
    for (name, found), expected in zip(loaded.module.named_parameters(), draft.parameters(), strict=True):
        assert torch.equal(found, expected), name
    assert loaded.config == CONFIG


def test_a_first_draft_depends_on_its_seed_alone() -> None:
    one, same, other = (dict(initial_draft(CONFIG, seed).named_parameters()) for seed in (7, 7, 8))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["fc.weight"], other["fc.weight"])
    assert float(one["lm_head.weight"].detach().std()) == pytest.approx(0.02, rel=0.15)
    assert torch.equal(one["norm.weight"], torch.ones(CONFIG.hidden_size))


def test_a_draft_configuration_that_cannot_be_is_named() -> None:
    details = refused("CONFIG_INVALID", lambda: DraftConfig.from_dict({"hidden_size": 8}))
    assert details["field"] == "num_attention_heads"
    for wrong in ({"num_key_value_heads": 3}, {"draft_vocab_size": 99}):
        refused("CONFIG_INVALID", lambda wrong=wrong: DraftConfig.from_dict({**RAW_CONFIG, **wrong}))


def call(name: str, **payload: Any) -> Any:
    reply = json.loads(host.call(name, json.dumps(payload)))
    if not reply["ok"]:
        raise BridgeError(reply["code"] or "PYTHON_RAISED", reply["message"], **reply["details"])
    return reply["value"]


def saved(session: int, folder: Path) -> Any:
    folder.mkdir()
    snapshot = call("train.snapshot", session=session)["handle"]
    files = call("snapshot.write", snapshot=snapshot, dir=str(folder))["files"]
    call("handle.free", handle=snapshot)
    return files


@pytest.fixture
def built(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What `train.build` needs, inside a process group of one."""
    case = SmallCase(torch.float32)
    target_folder(tmp_path / "target", case)
    (tmp_path / "token-counts.ndjson").write_text("".join(f"[{token}, {50 - token}]\n" for token in range(12)))
    place = {"rank": 0, "localRank": 0, "worldSize": 1, "masterAddr": "127.0.0.1", "masterPort": 1}
    joined = call("dist.init", **place, device="cpu", timeoutSeconds=20, threads=1, deterministic=True)
    assert (joined["backend"], joined["deterministic"]) == ("gloo", True)
    yield {
        "train": as_section(replace(SETTINGS, ttt=ttt_settings(steps=2), optimizer=replace(OPTIMIZER, lr=1e-3))),
        "draft": as_section(DraftSettings("eagle3", "auto", CONFIG.draft_vocab_size, "target-head", False, False)),
        "target": as_section(TargetSettings(str(tmp_path / "target"), "float32", None)),
        "draftConfig": RAW_CONFIG,
        "contract": as_section(CONTRACT),
        "countsFiles": [str(tmp_path / "token-counts.ndjson")],
        "totalSteps": 10,
        "seed": 3,
    }
    call("dist.close")
    assert not torch.are_deterministic_algorithms_enabled(), "another run in this process is another matter"


def test_a_session_trains_saves_and_loads_through_the_operations(built: dict[str, Any], tmp_path: Path) -> None:
    case = SmallCase(torch.float32)
    live = len(TABLE)
    session = call("train.build", **built)["handle"]
    samples = [TABLE.mint(case.sample(mask)) for mask in MASKS]
    batch = call("batch.build", session=session, samples=samples, maxLength=64)
    assert (batch["tokens"], batch["positions"], batch["lossTokens"]) == (18, 22, 9)
    step = {"session": session, "positions": 22, "window": 2, "stop": False, "lost": 0, "saved": 0}
    report: dict[str, Any] = {"stepped": False, "stop": False, "globalStep": 0, "lost": 0, "saved": 0, "watched": []}
    assert call("train.step", **step, batch=batch["handle"], boundary=False) == report
    empty = call("batch.build", session=session, samples=[], maxLength=64)
    assert (empty["tokens"], empty["positions"], empty["lossTokens"]) == (0, 0, 0)
    stepped = call("train.step", **(step | {"lost": 2, "saved": 7}), batch=empty["handle"], boundary=True)
    (watched,) = stepped.pop("watched")
    assert stepped == {"stepped": True, "stop": False, "globalStep": 1, "lost": 2, "saved": 7}
    assert call("dist.union", numbers=[4, 1, 4]) == {"numbers": [1, 4]}
    metrics = call("train.metrics", session=session)
    assert metrics["lr"] == pytest.approx(1e-3)
    assert all(value is not None for value in metrics["ploss"])
    assert (metrics["watched"], watched["step"], watched["loss"]) == ([], 1, metrics["loss"])
    call("dist.barrier")
    files = saved(session, tmp_path / "step")
    written = {"model.safetensors", "config.json", "optimizer.safetensors", "rng-rank0.safetensors"}
    assert {file["name"] for file in files} == written
    assert call("train.load", session=session, dir=str(tmp_path / "step")) == {"globalStep": 1}
    for handle in (*samples, batch["handle"], empty["handle"], session):
        call("handle.free", handle=handle)
    assert len(TABLE) == live


def test_head_rows_of_the_target_start_the_draft_head(built: dict[str, Any], tmp_path: Path) -> None:
    case = SmallCase(torch.float32)
    session = call("train.build", **built)["handle"]
    saved(session, tmp_path / "start")
    call("handle.free", handle=session)
    draft = load_draft(tmp_path / "start", torch.float32, Eagle3())
    ids = draft.constants["d2t"] + torch.arange(CONFIG.draft_vocab_size)
    assert torch.equal(draft.module.get_parameter("lm_head.weight"), case.head[ids])


def test_a_draft_that_does_not_fit_the_target_is_refused(built: dict[str, Any]) -> None:
    wrong = {**built, "draftConfig": {**RAW_CONFIG, "hidden_size": 8}}
    assert refused("CONFIG_INVALID", lambda: call("train.build", **wrong))["field"] == "draft.config"
