"""A target and a draft, loaded and found to fit each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.chat import Chat
from draftbridge.capture.token_spans import tokenized
from draftbridge.decoding.chain_decoder import ChainDecoder, Decoded
from draftbridge.decoding.target_decoder import TargetDecoder, embedding_of
from draftbridge.drafts.architecture import DraftArchitecture, LoadedDraft
from draftbridge.drafts.draft_files import load_draft, read_config
from draftbridge.drafts.registry import require_config_of
from draftbridge.settings.model_settings import TargetSettings
from draftbridge.target.logit_probe import probe_loaded
from draftbridge.target.target import load_model, load_tokenizer
from draftbridge.target.target_shape import position_limit

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class EvalSession:
    """Owns both models until `close`. All methods run on the engine thread, one at a time."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer_of: tuple[str, str | None],
        architecture: DraftArchitecture,
        draft: LoadedDraft,
        aux_layers: Sequence[int],
    ) -> None:
        """`model` and `draft` of one dtype, in eval mode. `tokenizer_of`: model path and override, read when needed."""
        decoder = architecture.decoder(draft, embedding_of(model))
        self._target = TargetDecoder(model, architecture.decoder_states, aux_layers)
        self._decoder = ChainDecoder(self._target, decoder, end_tokens(model))
        self._tokenizer_of = tokenizer_of
        self._tokenizer: Any = None

    @classmethod
    def open(
        cls,
        target: TargetSettings,
        architecture: DraftArchitecture,
        directory: str,
        aux_layers: Sequence[int],
        dtype: torch.dtype,
    ) -> EvalSession:
        """Load both. CHECKPOINT_INVALID when the draft cannot be read or is of another target or architecture,
        CONTRACT_MISMATCH when training would not have rebuilt the target's logits."""
        if not os.path.isdir(directory):
            raise BridgeError(
                "CHECKPOINT_INVALID",
                "there is no draft here",
                file=directory,
                found="a file" if os.path.exists(directory) else "nothing",
                fix="name a checkpoint, or an exported folder with model.safetensors and config.json",
            )
        _, raw = read_config(Path(directory), architecture)
        require_config_of(architecture, raw, os.path.join(directory, "config.json"))
        draft = load_draft(directory, dtype, architecture)
        model = load_model(target.model, dtype)
        probe_loaded(model, aux_layers)
        return cls(model, (target.model, target.tokenizer), architecture, draft, aux_layers)

    def encode(self, conversation: dict[str, Any], today: str | None) -> list[int]:
        """Tokens of `{messages, tools?}` in the chat template, up to where the answer begins. `today`: see Chat."""
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
        chat = Chat(self._tokenizer, {"id": "prompt", **conversation}, today)
        return tokenized(self._tokenizer, chat.text(chat.messages, prompt=True))[0]

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
        limit = position_limit(self._target.model.config.get_text_config())
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
