"""Conversations as tokens, with a mask over what the assistant said.

The mask covers, for every assistant turn, all that the chat template puts after the header of the turn: the answer, the
end-of-turn token, and what follows it before the next turn (for ChatML the newline, as the reference's pattern
`<|im_end|>\n` does). It is derived from the text: a token is in when all its characters are, so a token that spans
header and answer is out, as the model would not be asked for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.errors import BridgeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = list[dict[str, str]]
Span = tuple[int, int]
_MARKERS = re.compile(r"\{%-?\s*generation\s*-?%\}")


def encode(tokenizer: PreTrainedTokenizerBase, conversation: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Token ids and mask (0/1, same length) of `{id, messages}` or `{id, input_ids, loss_start}`.

    Raises FEATURE_INVALID for a conversation that the model's chat template cannot render, or whose assistant turns
    cannot be found in what it renders.
    """
    if "input_ids" in conversation:
        ids = list(conversation["input_ids"])
        start = min(conversation["loss_start"], len(ids))
        return ids, [0] * start + [1] * (len(ids) - start)
    messages = conversation["messages"]
    name = str(conversation["id"])
    if _MARKERS.search(_template(tokenizer)):
        return _by_markers(tokenizer, messages, name)
    return _by_prefixes(tokenizer, messages, name)


def _by_markers(tokenizer: PreTrainedTokenizerBase, messages: Messages, name: str) -> tuple[list[int], list[int]]:
    """For a template that marks the generated text itself."""
    render: Any = tokenizer.apply_chat_template
    try:
        encoded = render(messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    except Exception as exc:
        raise _unrendered(name, exc) from exc
    return list(encoded["input_ids"]), [int(flag) for flag in encoded["assistant_masks"]]


def _by_prefixes(tokenizer: PreTrainedTokenizerBase, messages: Messages, name: str) -> tuple[list[int], list[int]]:
    if not tokenizer.is_fast:
        raise BridgeError(
            "CONFIG_INVALID",
            "the loss mask needs a tokenizer that knows which characters a token covers",
            field="target.tokenizer",
            found=type(tokenizer).__name__,
            fix="name a folder with a tokenizer.json, or a chat template with generation markers",
        )
    text = _render(tokenizer, messages, name)
    spans = [
        _span(tokenizer, messages, turn, text, name)
        for turn, message in enumerate(messages)
        if message["role"] == "assistant"
    ]
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoded["input_ids"]), mask_of(encoded["offset_mapping"], spans)


def mask_of(offsets: list[Span], spans: list[Span]) -> list[int]:
    """1 for every token whose characters all lie in one of `spans` (ascending, disjoint).

    Byte-level tokenizers may leave a token's white space out of its offsets, down to nothing; so a token begins
    where the one before it ended.
    """
    mask: list[int] = []
    done, at = 0, 0
    for begin, end in offsets:
        first = min(begin, done)
        while at < len(spans) and spans[at][1] < end:
            at += 1
        inside = at < len(spans) and spans[at][0] <= first and spans[at][0] < end
        mask.append(int(inside))
        done = max(done, end)
    return mask


def _span(tokenizer: PreTrainedTokenizerBase, messages: Messages, turn: int, text: str, name: str) -> Span:
    """Where in `text` the characters of assistant turn `turn` stand, without its header."""
    whole = _render(tokenizer, messages[: turn + 1], name)
    if turn == 0:
        # Templates may put a system turn before the first message, so there is no prefix to compare with.
        header = _render(tokenizer, messages[:1], name, prompt=True)[len(whole) :]
        begin = whole.find(header + messages[0]["content"]) + len(header) if header else -1
        known = begin >= len(header) > 0
    else:
        before = _render(tokenizer, messages[:turn], name, prompt=True)
        begin = len(before)
        known = whole.startswith(before)
    if known and text.startswith(whole):
        return begin, len(whole)
    raise BridgeError(
        "FEATURE_INVALID",
        "the assistant's tokens cannot be found: the chat template renders an early turn in another way once later "
        "turns follow",
        file=name,
        field=f"messages[{turn}]",
        found="a turn whose text depends on later turns",
        fix="use a chat template with {% generation %} markers, or give input_ids and loss_start",
    )


def _template(tokenizer: PreTrainedTokenizerBase) -> str:
    template = tokenizer.chat_template
    if isinstance(template, str):
        return template
    raise BridgeError(
        "CONFIG_INVALID",
        "the target has no chat template, so messages cannot be turned into tokens",
        field="target.tokenizer",
        found="no template" if template is None else "several templates",
        fix="name a tokenizer with one chat template, or give input_ids and loss_start",
    )


def _render(tokenizer: PreTrainedTokenizerBase, messages: Messages, name: str, *, prompt: bool = False) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt))
    except Exception as exc:
        raise _unrendered(name, exc) from exc


def _unrendered(name: str, exc: Exception) -> BridgeError:
    lines = str(exc).strip().splitlines()
    return BridgeError(
        "FEATURE_INVALID",
        "the chat template cannot render this conversation",
        file=name,
        field="messages",
        found=f"{type(exc).__name__}: {lines[0][:300] if lines else ''}",
        fix="bring the roles into the order that the model expects",
    )
