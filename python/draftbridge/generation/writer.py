"""Lets the target write: answers to conversations, and prompts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.capture import cpu_has_bfloat16
from draftbridge.capture.token_spans import tokenized
from draftbridge.generation.seeded_choice import SeededChoice
from draftbridge.generation.stop_tokens import stop_tokens
from draftbridge.settings.model_settings import TargetSettings
from draftbridge.target import target
from draftbridge.target.target_shape import position_limit


@dataclass(frozen=True)
class Written:
    """What the target wrote behind one prompt."""

    text: str
    """Without the token that ends it."""
    tokens: int
    ended: bool
    """False when it was cut at the most tokens, or at the target's last position."""


@dataclass(frozen=True)
class Sampling:
    max_new_tokens: int
    temperature: float
    """0: always the likeliest token."""
    top_p: float


class Writer:
    """A target with its tokenizer. Owns both."""

    def __init__(self, settings: TargetSettings, today: str | None) -> None:
        self.today = today
        self.tokenizer = target.load_tokenizer(settings.model, settings.tokenizer)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype: torch.dtype = getattr(torch, settings.dtype)
        native = self.device.type == "cuda" or (dtype == torch.bfloat16 and cpu_has_bfloat16())
        self.compute_dtype = dtype if native else torch.float32
        spread = settings.devices == "all"
        model: Any = target.load_model(settings.model, self.compute_dtype, spread=spread)
        self._model = model if spread else model.to(self.device)
        self.positions = position_limit(self._model.config.get_text_config())
        self.stops = stop_tokens(self.tokenizer, self._model, today)

    def prompt_ids(self, prompt: str) -> list[int]:
        """Raises FEATURE_INVALID for a prompt that leaves no room for an answer."""
        ids, _ = tokenized(self.tokenizer, prompt)
        if len(ids) >= self.positions:
            found = f"{len(ids)} tokens; the target has {self.positions} positions"
            raise BridgeError(
                "FEATURE_INVALID", "the prompt is too long", field="messages", found=found, fix="remove or shorten it"
            )
        return ids

    @torch.inference_mode()
    def write(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling) -> list[Written]:
        """What the target writes behind each of `prompts` (ids, without padding), drawn with its seed."""
        longest = max(len(prompt) for prompt in prompts)
        room = [min(sampling.max_new_tokens, self.positions - len(prompt)) for prompt in prompts]
        pad = self.stops[0]
        rows = [[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        seen = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        choice = (
            SeededChoice(seeds, max(room), sampling.temperature, sampling.top_p, longest)
            if sampling.temperature
            else None
        )
        with warnings.catch_warnings():
            # Of settings for sampling that the model's own file has, and that do not count here.
            warnings.simplefilter("ignore", UserWarning)
            output = self._model.generate(
                input_ids=torch.tensor(rows, device=self.device),
                attention_mask=torch.tensor(seen, device=self.device),
                generation_config=self._settings(max(room), pad),
                logits_processor=[] if choice is None else [choice],
            )
        written: list[list[int]] = output[:, longest:].tolist()
        return [self._written(ids[:own]) for ids, own in zip(written, room, strict=True)]

    def _settings(self, tokens: int, pad: int) -> Any:
        from transformers import GenerationConfig

        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=tokens, do_sample=False, eos_token_id=self.stops, pad_token_id=pad
        )

    def _written(self, ids: list[int]) -> Written:
        end = next((at for at, token in enumerate(ids) if token in self.stops), None)
        kept = ids if end is None else ids[:end]
        text = str(self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        return Written(text, len(kept) + (end is not None), end is not None)
