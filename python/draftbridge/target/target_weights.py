"""The target's embedding and head, without the rest of the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from draftbridge.files.plain import read_text
from draftbridge.settings.capture_contract import LogitRule
from draftbridge.target.weight_files import missing, weight_files

# Where the architectures of transformers keep the text model, and how they call its parts.
_PREFIXES = (
    "model.",
    "",
    "model.language_model.",
    "language_model.model.",
    "language_model.",
    "model.text_model.",
    "text_model.model.",
    "transformer.",
    "gpt_neox.",
    "model.decoder.",
    "decoder.",
    "backbone.",
)
_EMBED = ("embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "embeddings")
_HEAD = ("lm_head", "language_model.lm_head", "model.lm_head", "embed_out", "text_model.lm_head")
_NORM = ("norm", "final_layernorm", "final_layer_norm", "ln_f", "norm_f", "final_norm")
_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
# Their GGUF files store the last norm's weight plus one, as the norm applies it.
_GGUF_NORM_PLUS_ONE = ("gemma2", "gemma3", "nemotron")


@dataclass(frozen=True)
class TargetWeights:
    """CPU tensors in the dtype of the file. `embed` and `head` [V, H] are one tensor where the target ties them."""

    embed: Tensor
    head: Tensor
    norm: Tensor | None
    """[H]; None if the last norm has no weight, or is not there."""
    norm_bias: Tensor | None = None
    head_bias: Tensor | None = None
    """[V]"""
    rule: LogitRule | None = None
    """What a GGUF file says of the logits. None for a folder, whose config.json says it."""

    @property
    def tied(self) -> bool:
        return self.head is self.embed


def load_target_weights(path: str | Path) -> TargetWeights:
    """Embedding, head and final norm of a model folder or a `.gguf` file, as transformers loads them.

    CONFIG_INVALID names the missing file or tensor.
    """
    path = Path(path)
    if not path.exists():
        raise missing("The target model is not there.", path, "nothing at this path")
    try:
        found = _from_gguf(path) if path.suffix == ".gguf" else _from_folder(path)
    except (SafetensorError, OSError, ValueError) as exc:
        raise missing("The target model cannot be read.", path, str(exc)) from exc
    for name, tensor in (("embedding", found.embed), ("head", found.head)):
        if tensor.dtype not in _DTYPES:
            raise missing(f"The target's {name} is quantised, so it cannot train a draft.", path, str(tensor.dtype))
    return found


def _from_folder(folder: Path) -> TargetWeights:
    ties = _tie_in_config(folder)
    files = weight_files(folder)
    embed, head = files.read(_names(_EMBED)), files.read(_weights(_HEAD))
    if ties is None and (embed is None or head is None):
        ties = _tie_by_default(folder)
    if embed is None and head is None:
        raise missing("The target model has no token embedding.", folder, f"none of {', '.join(_EMBED)}")
    if head is None and not ties:
        raise missing("The target model has no head.", folder, "no lm_head.weight, and its config ties no weights")
    if embed is None and not ties:
        raise missing("The target model has no token embedding.", folder, "a head only, and its config ties no weights")
    embed, head = _one_or_two(embed, head)
    return TargetWeights(
        embed,
        head,
        files.read(_names(_NORM)),
        files.read(_names(_NORM, "bias")),
        files.read([f"{name}.bias" for name in _HEAD]),
    )


def _one_or_two(embed: Tensor | None, head: Tensor | None) -> tuple[Tensor, Tensor]:
    """A file with both may hold one tensor twice. As transformers does, they are tied only if they are equal, whatever
    the config says."""
    if embed is None or head is None:
        one = embed if head is None else head
        assert one is not None
        return one, one
    same = embed.shape == head.shape and embed.dtype == head.dtype and torch.equal(embed, head)
    return embed, embed if same else head


def _tie_in_config(folder: Path) -> bool | None:
    """Whether the folder's config ties head and embedding. None: it does not say."""
    file = folder / "config.json"
    if not file.exists():
        raise missing("The target model has no configuration.", file, "no file")
    config: Any = json.loads(read_text(file, follow=True))
    if not isinstance(config, dict):
        raise missing("The target model's configuration is not a JSON object.", file, type(config).__name__)
    text = config.get("text_config")
    said = [part.get("tie_word_embeddings") for part in (config, text) if isinstance(part, dict)]
    given = [bool(value) for value in said if value is not None]
    return any(given) if given else None


def _tie_by_default(folder: Path) -> bool:
    """Whether the model's class ties them. Only transformers knows, and importing it takes seconds."""
    from draftbridge.target.target import load_config

    return bool(getattr(load_config(str(folder)), "tie_word_embeddings", False))


def _names(parts: tuple[str, ...], kind: str = "weight") -> list[str]:
    return [f"{prefix}{part}.{kind}" for prefix, part in product(_PREFIXES, parts)]


def _weights(parts: tuple[str, ...]) -> list[str]:
    return [f"{part}.weight" for part in parts]


def _from_gguf(file: Path) -> TargetWeights:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(str(file))
    stored = {tensor.name: tensor for tensor in reader.tensors}

    def read(name: str) -> Tensor | None:
        if name not in stored:
            return None
        # The reader maps the file read-only; torch wants memory of its own.
        return torch.from_numpy(dequantize(stored[name].data, stored[name].tensor_type).copy())

    embed = read("token_embd.weight")
    if embed is None:
        raise missing("The target model has no token embedding.", file, "no token_embd.weight")
    head, norm = read("output.weight"), read("output_norm.weight")
    field = reader.get_field("general.architecture")
    if norm is not None and field is not None and field.contents() in _GGUF_NORM_PLUS_ONE:
        norm = norm - 1
    head = embed if head is None else head
    return TargetWeights(embed, head, norm, read("output_norm.bias"), read("output.bias"), _gguf_rule(reader))


def _gguf_rule(reader: Any) -> LogitRule:
    def number(name: str) -> float | None:
        field = reader.get_field(name)
        return None if field is None else float(field.contents())

    field = reader.get_field("general.architecture")
    kind = "" if field is None else str(field.contents())
    scale = number(f"{kind}.logit_scale") or 1.0
    scale = 1 / scale if kind.startswith(("granite", "minicpm")) else scale
    return LogitRule(None if scale == 1 else scale, number(f"{kind}.final_logit_softcapping") or None)
