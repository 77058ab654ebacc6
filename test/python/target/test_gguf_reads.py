"""A GGUF file that is read once gives the same target as one that is read anew each time."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from draftbridge.target import target
from draftbridge.target.gguf_reads import GgufReads


def written(file: Path, tokens: int = 40, seed: int = 0) -> str:
    """A small Llama with random weights."""
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(tokens)
    names = [f"t{at}" for at in range(tokens)]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(names)
    writer.add_token_merges(["t 0", "t 1"])
    random = np.random.default_rng(seed)

    def tensor(name: str, *shape: int) -> None:
        writer.add_tensor(name, random.standard_normal(shape, dtype=np.float32))

    tensor("token_embd.weight", tokens, 16)
    tensor("output_norm.weight", 16)
    for layer in range(2):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{layer}.{part}.weight", 16, 16)
        tensor(f"blk.{layer}.ffn_gate.weight", 32, 16)
        tensor(f"blk.{layer}.ffn_up.weight", 32, 16)
        tensor(f"blk.{layer}.ffn_down.weight", 16, 32)
        tensor(f"blk.{layer}.attn_norm.weight", 16)
        tensor(f"blk.{layer}.ffn_norm.weight", 16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(file)


def test_gives_the_same_target(tmp_path: Path) -> None:
    file = written(tmp_path / "small.gguf")
    plain = target.load_model(file, torch.float32).state_dict()
    shape = target.describe(file)
    with GgufReads():
        assert target.describe(file) == shape
        again = target.load_model(file, torch.float32).state_dict()
    assert plain.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in plain.items())


def test_reads_once_while_one_is_open_and_anew_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "small.gguf")
    read: list[str] = []
    original = gguf.GGUFReader

    class Counted(original):  # type: ignore[misc, valid-type]
        def __init__(self, path: str, mode: str = "r") -> None:
            read.append(path)
            super().__init__(path, mode)

    monkeypatch.setattr(gguf, "GGUFReader", Counted)
    with GgufReads():
        target.describe(file)
        with GgufReads():
            target.load_model(file, torch.float32)
        target.describe(file)
        assert len(read) == 1
    assert gguf.GGUFReader is Counted
    target.describe(file)
    assert len(read) == 2


def test_reads_a_file_anew_that_was_replaced(tmp_path: Path) -> None:
    file = written(tmp_path / "small.gguf")
    with GgufReads():
        assert target.describe(file)["vocabSize"] == 40
        written(tmp_path / "new.gguf", tokens=50)
        (tmp_path / "new.gguf").rename(file)
        assert target.describe(file)["vocabSize"] == 50
    assert json.dumps(target.describe(file)["vocabSize"]) == "50"
