"""What an assistant says in a message, and whether a rendering of it shows all of that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from draftbridge.capture.chat import Chat
from draftbridge.capture.mask_refusals import Reason, refused
from draftbridge.capture.message_forms import Message, renamed_calls

_WORDS = ("content", "refusal")
_REASONING = ("reasoning_content", "reasoning", "thinking", "thought")
_OPEN, _CLOSE = "<think>", "</think>"


def says_something(message: Message) -> bool:
    """Whether there is anything to learn from: words, reasoning or a call."""
    spoken = any(_plain(message.get(key)) for key in (*_WORDS, *_REASONING))
    return spoken or bool(message.get("tool_calls")) or bool(message.get("function_call"))


def require_all_said(chat: Chat, turn: int, reply: str, *, reasoning: bool = True) -> None:
    """Raises FEATURE_INVALID if `reply`, the rendering of assistant turn `turn`, leaves out what the assistant said.

    `reasoning` False: its reasoning may be missing.
    """
    message = chat.messages[turn]
    rest = reply
    for reason, key, text in sorted(_said(message, reply), key=lambda part: -len(part[2])):
        if text in rest:
            rest = rest.replace(text, "", 1)
        elif _squeezed(text) in _squeezed(rest):
            continue
        elif reasoning or reason != "reasoning-dropped":
            raise refused(reason, chat.name, f"messages[{turn}].{key}", _shown(text))
    if message.get("tool_calls"):
        _require_calls(chat, turn, rest)
    legacy = message.get("function_call")
    if legacy and str(legacy.get("name") if isinstance(legacy, dict) else legacy) not in rest:
        raise refused("tool-call-dropped", chat.name, f"messages[{turn}].function_call", _shown(str(legacy)))


def require_tools(chat: Chat) -> None:
    """Raises FEATURE_INVALID if the template leaves out the tools or what a tool answered."""
    for at, message in enumerate(chat.messages):
        answer = _plain(message.get("content")) if message.get("role") in ("tool", "function") else ""
        if answer and not _shows(chat.whole, answer):
            raise refused("tool-answer-dropped", chat.name, f"messages[{at}].content", _shown(answer))
    if chat.tools is None:
        return
    if chat.whole == chat.tried(chat.messages, tools=False):
        raise refused("tools-dropped", chat.name, "tools", f"{len(chat.tools)} tools, none of them rendered")


def split_reasoning(content: str) -> tuple[str, str] | None:
    """Reasoning and answer of a content that has both in one string."""
    before, mark, after = content.partition(_CLOSE)
    return (before.strip().removeprefix(_OPEN).strip(), after.strip()) if mark else None


def _said(message: Message, reply: str) -> Iterator[tuple[Reason, str, str]]:
    for key in _WORDS:
        text = _plain(message.get(key))
        split = None if not text or text in reply else split_reasoning(text)
        parts: tuple[tuple[Reason, str], ...] = (("words-dropped", text),)
        if split is not None:
            parts = (("reasoning-dropped", split[0]), ("words-dropped", split[1]))
        yield from ((reason, key, part) for reason, part in parts if part)
    # Templates know the thoughts by one of these names, so a message may have the same thoughts under several.
    thoughts = {_plain(message.get(key)): key for key in reversed(_REASONING)}
    yield from (("reasoning-dropped", key, text) for text, key in thoughts.items() if text)


def _require_calls(chat: Chat, turn: int, rest: str) -> None:
    message = chat.messages[turn]
    changed, words = renamed_calls(message, chat.probes[0])
    text = chat.tried([*chat.messages[:turn], changed]) or ""
    inner = [call.get("function", call) for call in message["tool_calls"]]
    shown = all(word in text for word in words)
    if not shown or not all(_shows(rest, leaf) for call in inner for leaf in _leaves(call)):
        names = ", ".join(str(call.get("name")) for call in inner)
        raise refused("tool-call-dropped", chat.name, f"messages[{turn}].tool_calls", _shown(names))


def _leaves(call: Any) -> Iterator[str]:
    """The name of a call and the texts in its arguments."""
    yield str(call.get("name"))
    waiting = [call.get("arguments")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from map(str, value)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            yield value.strip()


def _shows(text: str, part: str) -> bool:
    """Whether `text` has `part`, as it is or inside a JSON string."""
    escaped = (json.dumps(part, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True))
    return part in text or any(form in text for form in escaped) or _squeezed(part) in _squeezed(text)


def _plain(value: Any) -> str:
    """The words of a content, a string or a list of parts, without blanks around them."""
    if isinstance(value, list):
        value = "".join(_plain(part.get("text") or part.get("thinking")) for part in value if isinstance(part, dict))
    return value.strip() if isinstance(value, str) else ""


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:57] + "...")
