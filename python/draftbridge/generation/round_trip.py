"""A message for what the target said, such that the chat template renders it as the target said it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.chat import Chat
from draftbridge.capture.message_forms import Message
from draftbridge.capture.said import split_reasoning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_OPENED = re.compile(r"(<[A-Za-z_|]+>)\s*\Z")
"""A tag at the end of a prompt: some templates open the thoughts of the model themselves."""


def message_for(
    tokenizer: PreTrainedTokenizerBase, context: dict[str, Any], prompt: str, said: str, today: str | None
) -> Message | None:
    """The assistant's message for `said`, which the target wrote behind `prompt`, the rendering of `context`.

    None if the template renders none of the forms in which engines pass such a message as the prompt, what was said and
    the end of the turn. White space around it may differ: templates trim messages.
    """
    for message in _forms(prompt, said):
        try:
            whole = Chat(tokenizer, {**context, "messages": [*context["messages"], message]}, today).whole
        except BridgeError:
            continue
        if whole.startswith(prompt) and _is_said(tokenizer, whole[len(prompt) :], said):
            return message
    return None


def _forms(prompt: str, said: str) -> Iterator[Message]:
    plain = said.strip()
    yield {"role": "assistant", "content": plain}
    opened = _OPENED.search(prompt)
    if opened is not None:
        yield {"role": "assistant", "content": f"{opened[0]}{plain}"}
    parts = split_reasoning(plain)
    if parts is not None:
        thought, answer = parts
        # Templates know the thoughts by one of these names.
        yield {"role": "assistant", "content": answer, "reasoning_content": thought, "thinking": thought}


def _is_said(tokenizer: PreTrainedTokenizerBase, rendered: str, said: str) -> bool:
    rest, plain = rendered.strip(), said.strip()
    if not rest.startswith(plain):
        return False
    return not _without_added(tokenizer, rest[len(plain) :]).strip()


def _without_added(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """`text` without special and other added tokens: what is left of the end of a turn are blanks."""
    added: Sequence[str] = [str(token) for token in tokenizer.get_added_vocab()]
    for name in sorted(added, key=len, reverse=True):
        text = text.replace(name, "")
    return text
