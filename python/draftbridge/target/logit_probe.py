"""The proof that training rebuilds a target's logits: a few tokens through the whole target, and both compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.target.layer_states import LayerStates, StateFeature, text_decoder
from draftbridge.target.logit_finish import LogitFinish
from draftbridge.target.logit_rule import finish_of, loaded_rule
from draftbridge.target.target_shape import position_limit
from draftbridge.target.target_weights import TargetWeights

# The largest difference that rounding explains, as a share of the largest logit.
ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 3e-2}
_FINAL, _AUX = StateFeature("hidden_state", "final"), StateFeature("aux_hidden_state", "aux")
_TEXT = "The capital of France is Paris, and 2 + 3 = 5."
_TOKENS = 24


def probe_tokens(tokenizer: Any, model: Any) -> list[int]:
    """A few tokens of plain text, or without a tokenizer any few, that `model` can read. No placeholder of an image or
    a sound is among them."""
    config = model.config.get_text_config()
    vocab_size, most = int(config.vocab_size), min(_TOKENS, position_limit(config))
    found = [int(token) for token in tokenizer.encode(_TEXT)] if tokenizer is not None else []
    known = [token for token in found if token < vocab_size]
    if len(known) > 1:
        return known[:most]
    named = {value for name, value in vars(model.config).items() if name.endswith(("_token_id", "_token_index"))}
    return [token for token in range(3, vocab_size, max(1, vocab_size // 64)) if token not in named][:most]


def probe_loaded(model: Any, aux_layers: Sequence[int]) -> float:
    """`probe` with the weights that `model` holds, not those of its files: of the rule and the states alone."""
    embed, head = model.get_input_embeddings(), model.get_output_embeddings()
    bias = getattr(head, "bias", None)
    weights = TargetWeights(embed.weight, head.weight, None, head_bias=bias)
    return probe(model, weights, finish_of(loaded_rule(model), weights), probe_tokens(None, model), aux_layers)


@torch.inference_mode()
def probe(
    model: Any, weights: TargetWeights, finish: LogitFinish, tokens: Sequence[int], aux_layers: Sequence[int]
) -> float:
    """Largest difference between the logits of `model` (whole, loaded) and those that training rebuilds from its last
    hidden state with `weights` and `finish`, as a share of the largest logit.

    CONTRACT_MISMATCH if it is beyond rounding; CONFIG_INVALID if the model's states are none that a draft can read.
    """
    embedding = model.get_input_embeddings().weight
    device, dtype = embedding.device, embedding.dtype
    ids = torch.tensor([list(tokens)], device=device)
    logits, hidden, aux = _passes(model, ids, aux_layers)
    width = weights.head.shape[1]
    _require_shape("the last hidden state", hidden, (1, len(tokens), width))
    if aux is not None:
        _require_shape("the outputs of the auxiliary layers", aux, (1, len(tokens), width * len(aux_layers)))
    _require_shape("the logits", logits, (len(tokens), weights.head.shape[0]))
    stored = weights.embed[ids[0].to(weights.embed.device)]
    _require_embedding(embedding[ids[0]], stored.to(device, dtype), tokens)
    head, finish = weights.head.to(device, dtype), finish.to(device, dtype)
    rebuilt = finish(hidden[0].to(device) @ head.T, slice(None))
    return _compared(logits.to(device), rebuilt, tokens, ROUNDING.get(dtype, 1e-3))


def _passes(model: Any, ids: Tensor, aux_layers: Sequence[int]) -> tuple[Tensor, Tensor, Tensor | None]:
    """The logits of the whole model [n, V], and the states [1, n, width] of its decoder alone, as a capture runs it."""
    try:
        logits = model(input_ids=ids, use_cache=False).logits[0]
        decoder = text_decoder(model)
        with LayerStates(decoder, aux_layers) as layers:
            decoder(input_ids=ids, use_cache=False)
            final, aux = layers.read(_FINAL), layers.read(_AUX) if aux_layers else None
            decoder(input_ids=ids[:, : (ids.shape[1] + 1) // 2], use_cache=False)
            _require_causal(final, layers.read(_FINAL))
            return logits, final, aux
    except (BridgeError, torch.OutOfMemoryError):
        raise
    except Exception as exc:
        raise BridgeError(
            "CONFIG_INVALID",
            "the target cannot be run on text alone",
            field="target.model",
            found=f"{type(model).__name__}: {type(exc).__name__}: {str(exc).strip()[:300]}",
            fix="choose a decoder-only language model that transformers runs on this machine",
        ) from exc


def _require_causal(whole: Tensor, begun: Tensor) -> None:
    """CONFIG_INVALID unless the states of the first tokens are the same with and without others behind them."""
    if not isinstance(whole, Tensor) or whole.ndim != begun.ndim:
        return
    alone, same = begun.float(), whole[:, : begun.shape[1]].float()
    if not (alone.isfinite().all() and same.isfinite().all()):
        raise BridgeError(
            "CONFIG_INVALID",
            "the target gives values that are no numbers",
            field="target.model",
            found="NaN or infinity in its states of a plain sentence",
            fix="try target.dtype bfloat16 or float32, because float16 overflows in some models; or download it again",
        )
    difference = float((alone - same).abs().max() / alone.abs().max().clamp(min=1e-30))
    if difference <= 3 * ROUNDING.get(begun.dtype, 1e-3):
        return
    raise BridgeError(
        "CONFIG_INVALID",
        "the target's tokens see those behind them",
        field="target.model",
        found=f"first tokens whose states differ by {difference:.2g} of the largest with others behind them",
        fix="choose a causal language model: a draft predicts what follows, and samples share padded batches",
    )


def _compared(own: Tensor, rebuilt: Tensor, tokens: Sequence[int], rounding: float) -> float:
    own, rebuilt = own.double(), rebuilt.double()
    size = float(own.abs().max())
    by_position = (own - rebuilt).abs().amax(-1) / max(size, 1e-30)
    at = int(by_position.argmax())
    largest = float(by_position[at])
    if largest <= rounding:
        return largest
    token = int((own[at] - rebuilt[at]).abs().argmax())
    values = f"logit of token {token}: {float(own[at, token]):.5g}, rebuilt {float(rebuilt[at, token]):.5g}"
    raise BridgeError(
        "CONTRACT_MISMATCH",
        "training would not rebuild the target's own logits from its last hidden state",
        field="target.model",
        found=f"largest difference {largest:.2g} of the largest logit, at position {at} (token {tokens[at]}); {values}"
        + _hint(own, rebuilt, rounding),
        fix="check the target's config.json (tie_word_embeddings, logit scale, soft cap) and that all of its weight "
        "files are of one download; otherwise draftbridge does not know how this architecture makes its logits",
    )


def _hint(own: Tensor, rebuilt: Tensor, rounding: float) -> str:
    """Whether one factor explains the difference."""
    factor = float((own * rebuilt).sum() / rebuilt.square().sum().clamp(min=1e-30))
    explained = float((own - factor * rebuilt).abs().max()) <= rounding * float(own.abs().max())
    return f"; a factor of {factor:.5g} would explain it" if explained else ""


def _require_embedding(own: Tensor, stored: Tensor, tokens: Sequence[int]) -> None:
    if own.shape == stored.shape and torch.equal(own, stored):
        return
    differs = "another width" if own.shape != stored.shape else None
    at = 0 if differs else int((own != stored).any(-1).nonzero()[0])
    raise BridgeError(
        "CONTRACT_MISMATCH",
        "the token embedding in the target's files is not the one that the target uses",
        field="target.model",
        found=differs or f"other numbers for token {tokens[at]}",
        fix="choose a target whose embedding is stored unquantised, under its usual name",
    )


def _require_shape(what: str, found: Any, expected: tuple[int, ...]) -> None:
    shape = tuple(found.shape) if isinstance(found, Tensor) else None
    if shape == expected:
        return
    raise BridgeError(
        "CONFIG_INVALID",
        f"a draft cannot read {what} of this target",
        field="target.model",
        found=f"{type(found).__name__ if shape is None else list(shape)}; expected {list(expected)}",
        fix="choose another target: this architecture does not give one state of the embedding's width for each token",
    )
