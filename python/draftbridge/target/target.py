"""The target model on disk: its sizes, its identity, and how it is loaded. Never from the network."""

from __future__ import annotations

import importlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import xxhash

from draftbridge.bridge.errors import BridgeError
from draftbridge.files.plain import NotPlain, open_plain, read_text
from draftbridge.target.target_shape import shape_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Read by the libraries when they are first imported, which happens in `_transformers` and nowhere earlier.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

_MIB = 1 << 20
_PIECES, _PIECE = 64, 1 << 16
_WEIGHTS = ("*.safetensors", "*.bin")
_LAYER = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.")
# Buffers that follow from the configuration.
_MADE_AT_LOAD = re.compile(r"(rotary_emb|inv_freq|position_ids|masked_bias|attn\.bias)")


def load_model(path: str, dtype: torch.dtype, *, spread: bool = False) -> PreTrainedModel:
    """The causal language model at `path` (a transformers folder or a .gguf file), in eval mode, whole: other parts of
    a multimodal model are loaded too. On the CPU; with `spread` over all GPUs, layer behind layer."""
    where = located(path)
    placed = {"device_map": "auto"} if spread else {}
    try:
        library = _transformers()
        config = library.AutoConfig.from_pretrained(**where, local_files_only=True)
        model, info = _class_for(library, config).from_pretrained(
            **where, dtype=dtype, local_files_only=True, output_loading_info=True, **placed
        )
    except Exception as exc:
        raise unloadable(path, "model", exc) from exc
    _require_whole(path, config, info)
    model.eval().requires_grad_(False)
    return cast("PreTrainedModel", model)


def _require_whole(path: str, config: Any, info: dict[str, Any]) -> None:
    """CONFIG_INVALID for weights that are in no file, where transformers takes random numbers, and for layers in the
    files that the configuration does not count."""
    missing = sorted(str(name) for name in info["missing_keys"] if not _MADE_AT_LOAD.search(str(name)))
    layers = int(getattr(config.get_text_config(), "num_hidden_layers", 1 << 30))
    numbered = [(found, name) for name in info["unexpected_keys"] if (found := _LAYER.search(str(name)))]
    beyond = sorted(str(name) for found, name in numbered if int(found[1]) >= layers)
    if not missing and not beyond:
        return
    names = missing or beyond
    what = "weights are missing from its files" if missing else f"its files have more than {layers} layers"
    raise BridgeError(
        "CONFIG_INVALID",
        f"the target is not whole: {what}",
        file=path,
        field="target.model",
        found=f"{len(names)}, such as {names[0]}",
        fix="download the target again, or use the config.json that belongs to these weights",
    )


def empty_model(path: str) -> PreTrainedModel:
    """The model of `path` without its weights, on the meta device."""
    where = located(path)
    try:
        library = _transformers()
        config = library.AutoConfig.from_pretrained(**where, local_files_only=True)
        with torch.device("meta"):
            model = _class_for(library, config).from_config(config)
    except Exception as exc:
        raise unloadable(path, "model", exc) from exc
    return cast("PreTrainedModel", model)


def _class_for(library: Any, config: Any) -> Any:
    """A folder with a text model and a vision tower is often known only as the whole."""
    causal = type(config) in library.AutoModelForCausalLM._model_mapping or config.get_text_config() is config
    return library.AutoModelForCausalLM if causal else library.AutoModelForImageTextToText


def load_tokenizer(path: str, override: str | None) -> PreTrainedTokenizerBase:
    """The tokenizer of the target at `path`, or the one at `override`."""
    source = override if override is not None else path
    where = located(source, "target.tokenizer" if override is not None else "target.model")
    try:
        tokenizer = _transformers().AutoTokenizer.from_pretrained(**where, local_files_only=True)
    except Exception as exc:
        raise unloadable(source, "tokenizer", exc, "target.tokenizer") from exc
    return cast("PreTrainedTokenizerBase", tokenizer)


def load_config(path: str) -> Any:
    """The text model's configuration of the target at `path`; no weights are read."""
    where = located(path)
    try:
        config = _transformers().AutoConfig.from_pretrained(**where, local_files_only=True)
    except Exception as exc:
        raise unloadable(path, "configuration", exc) from exc
    return config.get_text_config()


def describe(path: str) -> dict[str, Any]:
    """The TargetShape (src/core/target-contract.ts) of the target at `path`; no weights are read."""
    return shape_of(load_config(path), path)


def identity(path: str) -> str:
    """A hash that changes when the model does, cheap enough for any size: `xxh3_64:` over the configuration's JSON and,
    for each weight file in name order, its name, its size, its first and last MiB (a safetensors or GGUF header lies in
    the first), and 64 pieces of 64 KiB in between. Neither the place nor the file times count, so a copy has the same
    identity."""
    digest = xxhash.xxh3_64()
    place = Path(path)
    try:
        if place.is_dir():
            digest.update(_canonical(place / "config.json"))
        for file in _weight_files(place):
            size = file.stat().st_size
            name = "model.gguf" if place.is_file() else file.name
            digest.update(json.dumps([name, size]).encode() + _samples(file, size))
    except NotPlain as exc:
        raise unloadable(str(exc.filename), "file", exc) from exc
    return f"xxh3_64:{digest.hexdigest()}"


def template_on_disk(path: str) -> str | None:
    """The chat template of the transformers folder at `path`, read without transformers. None where it is not one text
    in a place that is known here: only the tokenizer can tell then."""
    folder = Path(path)
    try:
        return read_text(folder / "chat_template.jinja", follow=True)
    except OSError:
        pass
    try:
        found = json.loads(read_text(folder / "tokenizer_config.json", follow=True)).get("chat_template")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def text_hash(text: str) -> str:
    """The identity of a tokenizer's or a chat template's text, in the form of the other digests."""
    return f"xxh3_64:{xxhash.xxh3_64_hexdigest(text.encode())}"


def _weight_files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return next((found for pattern in _WEIGHTS if (found := sorted(place.glob(pattern)))), [])


def _canonical(file: Path) -> bytes:
    return json.dumps(json.loads(read_text(file, follow=True)), sort_keys=True, separators=(",", ":")).encode()


def _samples(file: Path, size: int) -> bytes:
    with os.fdopen(open_plain(file, follow=True), "rb") as stream:
        head = stream.read(_MIB)
        between = bytearray()
        # Merged adapters change some layers only, and neither the first nor the last tensor.
        for piece in range(_PIECES):
            stream.seek(len(head) + (size - len(head)) * piece // _PIECES)
            between += stream.read(_PIECE)
        stream.seek(max(size - _MIB, len(head)))
        return head + bytes(between) + stream.read()


def located(path: str, field: str = "target.model") -> dict[str, str]:
    """Arguments for `from_pretrained`. A path that is not there must not be taken for a name on a model hub."""
    place = Path(path)
    if place.is_file() and place.suffix == ".gguf":
        return {"pretrained_model_name_or_path": str(place.parent), "gguf_file": place.name}
    if place.is_dir() and any((place / name).is_file() for name in ("config.json", "tokenizer.json")):
        return {"pretrained_model_name_or_path": str(place)}
    found = "no such file or folder"
    if place.is_dir():
        ggufs = ", ".join(sorted(file.name for file in place.glob("*.gguf"))[:3])
        found = f"a folder without config.json{f', but with {ggufs}' if ggufs else ''}"
    elif place.exists():
        found = "a file that does not end in .gguf"
    raise BridgeError(
        "CONFIG_INVALID",
        "the target model cannot be found",
        file=path,
        field=field,
        found=found,
        fix="name a folder of transformers (config.json, safetensors, tokenizer) or a .gguf file; no hub is asked",
    )


def unloadable(path: str, part: str, exc: Exception, field: str = "target.model") -> BridgeError:
    # transformers breaks its longer messages into lines.
    why = " ".join(str(exc).split())
    return BridgeError(
        "CONFIG_INVALID",
        f"the target's {part} cannot be loaded",
        file=path,
        field=field,
        found=f"{type(exc).__name__}: {why[:300]}",
        fix="check that the download is whole, with tokenizer.json or tokenizer.model"
        if part == "tokenizer"
        else "check that the download is whole and that transformers knows this architecture",
    )


def _transformers() -> Any:
    """Imported on first use: it costs seconds, and a rank that only trains never needs it. Made silent: stdout and
    stderr belong to the command line."""
    library: Any = importlib.import_module("transformers")
    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
    # Its bar over GGUF tensors asks no setting.
    gguf_loading: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    gguf_loading.tqdm = lambda tensors, **_: tensors
    return library
