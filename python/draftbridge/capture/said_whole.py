"""Nothing that an assistant said vanishes: what a template leaves out is found before it is trained without it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.chat_template import Message

_END_OF_THOUGHT = "</think>"


def expect_whole(message: Message, said: str, turn: int) -> None:
    """Raises FEATURE_INVALID unless `said`, the rendered answer, holds the text, thoughts and calls of `message`."""
    for name, part in _parts(message):
        if not any(form in said for form in _forms(part)):
            raise BridgeError(
                "FEATURE_INVALID",
                "the chat template leaves out something that the assistant said",
                field=f"messages[{turn}].{name}",
                found=f"{part[:60]!r}, which is not in the rendered answer",
                fix="use a chat template that renders it, or take it out of the data on purpose",
            )


def is_empty(message: Message) -> bool:
    """Whether the assistant said nothing in this turn."""
    return not any(part for _, part in _parts(message))


def _parts(message: Message) -> Iterator[tuple[str, str]]:
    # Templates cut an answer where a block of thoughts ends, and trim both parts.
    for part in str(message.get("content") or "").split(_END_OF_THOUGHT):
        yield "content", part.strip().removeprefix("<think>").strip()
    yield "reasoning_content", str(message.get("reasoning_content") or "").strip()
    for at, call in enumerate(message.get("tool_calls") or []):
        function = call.get("function", call)
        yield f"tool_calls[{at}].name", str(function["name"])
        for leaf in _leaves(function.get("arguments")):
            yield f"tool_calls[{at}].arguments", leaf


def _leaves(value: Any) -> Iterator[str]:
    """The texts and numbers in the arguments of a call. True, false and null have a spelling for each template."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield json.dumps(value)
    elif isinstance(value, str):
        yield value.strip()


def _forms(part: str) -> Iterator[str]:
    """How a template may write a text: as it is, or inside of JSON, once or twice."""
    yield part
    for ascii_only in (False, True):
        once = json.dumps(part, ensure_ascii=ascii_only)[1:-1]
        yield once
        yield json.dumps(once, ensure_ascii=ascii_only)[1:-1]
