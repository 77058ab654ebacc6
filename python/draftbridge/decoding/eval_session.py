"""A target and a draft, loaded and found to fit each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.decoding.chain_decoder import ChainDecoder, Decoded
from draftbridge.decoding.draft_decoder import DraftDecoder
from draftbridge.decoding.target_decoder import TargetDecoder, embedding_of
from draftbridge.drafts.draft_files import load_draft
from draftbridge.drafts.eagle3.draft import Draft, DraftConfig
from draftbridge.target.target import aux_layers, load_model, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class EvalSession:
    """Owns both models until `close`. All methods run on the engine thread, one at a time."""

    def __init__(self, model: PreTrainedModel, tokenizer_of: tuple[str, str | None], draft: Draft, d2t: torch.Tensor):
        """`model` and `draft` of one dtype, in eval mode. `tokenizer_of`: model path and override, read when needed."""
        self.aux_layers = tuple(aux_layers(model.config.get_text_config().num_hidden_layers))
        self._target = TargetDecoder(model, self.aux_layers)
        embedding = self._target.embedding
        self._decoder = ChainDecoder(
            self._target, DraftDecoder(draft.to(embedding.device), d2t, embedding), end_tokens(model)
        )
        self._tokenizer_of = tokenizer_of
        self._tokenizer: Any = None

    @classmethod
    def open(cls, model: str, tokenizer: str | None, draft: str, dtype: torch.dtype) -> EvalSession:
        """Load both. Raises CHECKPOINT_INVALID when the draft cannot be read or is not of the target's sizes."""
        if not os.path.isdir(draft):
            raise BridgeError(
                "CHECKPOINT_INVALID",
                "there is no draft here",
                file=draft,
                found="a file" if os.path.exists(draft) else "nothing",
                fix="name a checkpoint, or an exported folder with model.safetensors and config.json",
            )
        weights, d2t, _ = load_draft(draft, dtype)
        target = load_model(model, dtype)
        check_sizes(os.path.join(draft, "config.json"), weights.config, target)
        check_offsets(os.path.join(draft, "model.safetensors"), d2t, weights.config.vocab_size)
        return cls(target, (model, tokenizer), weights, d2t)

    def encode(self, prompt: str) -> list[int]:
        """Tokens of one user turn in the chat template, up to where the answer begins."""
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(*self._tokenizer_of)
        if not self._tokenizer.chat_template:
            raise BridgeError(
                "CONFIG_INVALID",
                "a prompt given as text needs a chat template",
                field="target.tokenizer",
                found="a tokenizer without one",
                fix="name a tokenizer that has a chat template, or give prompts as input_ids with loss_start",
            )
        turn = [{"role": "user", "content": prompt}]
        ids = self._tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=True, return_dict=False)
        return [int(token) for token in ids]

    def decode(self, prompt: Sequence[int], max_new_tokens: int, steps: int) -> Decoded:
        """See ChainDecoder.decode. Raises CONFIG_INVALID for tokens or lengths that the target does not have."""
        self._check_prompt(prompt, max_new_tokens)
        with torch.inference_mode():
            return self._decoder.decode(prompt, max_new_tokens, steps)

    def close(self) -> None:
        self._target.close()

    def _check_prompt(self, prompt: Sequence[int], max_new_tokens: int) -> None:
        vocab_size = self._target.embedding.shape[0]
        if max(prompt) >= vocab_size:
            raise BridgeError(
                "CONFIG_INVALID",
                "a prompt holds a token that the target does not have",
                field="input_ids",
                found=f"{max(prompt)}; the vocabulary has {vocab_size}",
                fix="make the prompts with this target's own tokenizer",
            )
        limit = self._target.model.config.get_text_config().max_position_embeddings
        if len(prompt) + max_new_tokens > limit:
            raise BridgeError(
                "CONFIG_INVALID",
                "a prompt and its answer are longer than the target can read",
                field="input_ids, eval.maxNewTokens",
                found=f"{len(prompt)} + {max_new_tokens} tokens; the target has {limit} positions",
                fix="shorten the prompt or lower eval.maxNewTokens",
            )


def end_tokens(model: PreTrainedModel) -> list[int]:
    """Ids that end an answer. Generation settings know more of them than the model's configuration does."""
    named: Any = getattr(model.generation_config, "eos_token_id", None)
    if named is None:
        named = model.config.get_text_config().eos_token_id
    return [named] if isinstance(named, int) else list(named or [])


def check_sizes(file: str, draft: DraftConfig, target: PreTrainedModel) -> None:
    """The draft reads the target's features and embedding, so both must have the target's widths."""
    vocab_size, hidden_size = embedding_of(target).shape
    sizes = {"hidden_size": (draft.hidden_size, hidden_size), "vocab_size": (draft.vocab_size, vocab_size)}
    for field, (found, wanted) in sizes.items():
        if found != wanted:
            raise BridgeError(
                "CHECKPOINT_INVALID",
                "the draft was made for another target",
                file=file,
                field=field,
                found=f"{found}; the target has {wanted}",
                fix="evaluate it with the target that it was trained on",
            )


def check_offsets(file: str, d2t: torch.Tensor, vocab_size: int) -> None:
    """Every draft id must stand for a token of the target: draft id + offset in [0, V)."""
    ids = d2t + torch.arange(d2t.numel())
    wrong = ((ids < 0) | (ids >= vocab_size)).nonzero().flatten()
    if wrong.numel():
        first = int(wrong[0])
        raise BridgeError(
            "CHECKPOINT_INVALID",
            "the draft's vocabulary map leaves the target's vocabulary",
            file=file,
            field="d2t",
            found=f"draft id {first} stands for {int(ids[first])}; the vocabulary has {vocab_size}",
            fix="d2t holds offsets (target id minus draft id); train or export the draft again",
        )
