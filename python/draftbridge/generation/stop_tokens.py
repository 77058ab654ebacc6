"""The tokens that end a turn of the target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.chat import Chat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WORD = "zq0answer0qz"


def stop_tokens(tokenizer: PreTrainedTokenizerBase, model: Any, today: str | None) -> list[int]:
    """Ids, ascending: those that the model's own generation settings and its tokenizer name, and the one that the chat
    template puts behind an answer, which base models' settings often lack."""
    found = {*_numbers(getattr(model.generation_config, "eos_token_id", None)), *_numbers(tokenizer.eos_token_id)}
    end = _end_of_turn(tokenizer, today)
    if end is not None:
        found.add(end)
    if not found:
        raise BridgeError(
            "CONFIG_INVALID",
            "nothing says where an answer of the target ends",
            field="target.tokenizer",
            found="no eos token, and no special token behind an answer in the chat template",
            fix="name the tokenizer of the target's chat model",
        )
    return sorted(found)


def _end_of_turn(tokenizer: PreTrainedTokenizerBase, today: str | None) -> int | None:
    messages = [{"role": "user", "content": "zq1question1qz"}, {"role": "assistant", "content": _WORD}]
    try:
        text = Chat(tokenizer, {"id": "probe", "messages": messages}, today).whole
    except BridgeError:
        return None
    ids: list[int] = tokenizer(text.partition(_WORD)[2].lstrip(), add_special_tokens=False)["input_ids"][:1]
    return ids[0] if ids and ids[0] in set(tokenizer.get_added_vocab().values()) else None


def _numbers(ids: int | Iterable[int] | None) -> list[int]:
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else [*ids]
