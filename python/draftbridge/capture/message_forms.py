"""The forms in which a chat template may want a message: engines pass one or the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

Message = dict[str, Any]


def is_call(call: Any) -> bool:
    inner = call.get("function", call) if isinstance(call, dict) else None
    return isinstance(inner, dict) and isinstance(inner.get("name"), str)


def renamed_calls(message: Message, word: str) -> tuple[Message, list[str]]:
    """`message` with other names and arguments in its tool calls, and the words that a rendering of it must show."""
    calls = message.get("tool_calls")
    if not calls:
        return message, []
    words: list[str] = []
    changed: list[Any] = []
    for at, call in enumerate(calls):
        inner = call.get("function", call)
        name, key, value = f"{word}{at}n", f"{word}{at}k", f"{word}{at}v"
        words.append(name)
        other = {**inner, "name": name}
        if inner.get("arguments"):
            as_text = isinstance(inner["arguments"], str)
            other["arguments"] = json.dumps({key: value}) if as_text else {key: value}
            words += [key, value]
        changed.append({**call, "function": other} if "function" in call else other)
    return {**message, "tool_calls": changed}, words


def first_words(message: Message) -> str:
    """The first line of a content, a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        content = next((part.get("text") for part in content if isinstance(part, dict)), "")
    return content.strip().partition("\n")[0] if isinstance(content, str) else ""


def message_forms(messages: Sequence[Message]) -> Iterator[list[Message]]:
    called = any(message.get("tool_calls") for message in messages)
    yield [_form(message, blank="", as_text=False) for message in messages]
    if called:
        yield [_form(message, blank=None, as_text=False) for message in messages]
        yield [_form(message, blank="", as_text=True) for message in messages]
        yield [_form(message, blank=None, as_text=True) for message in messages]
    yield [_in_parts(_form(message, blank="", as_text=False)) for message in messages]


def _in_parts(message: Message) -> Message:
    content = message["content"]
    return {**message, "content": [{"type": "text", "text": content}]} if isinstance(content, str) else message


def _form(message: Message, *, blank: str | None, as_text: bool) -> Message:
    changed = dict(message)
    calls = message.get("tool_calls")
    if changed.get("content") in (None, ""):
        changed["content"] = blank if calls else ""
    if calls:
        changed["tool_calls"] = [_call_form(call, as_text=as_text) for call in calls]
    return changed


def _call_form(call: Any, *, as_text: bool) -> Any:
    inner = call.get("function", call)
    given = inner.get("arguments")
    if as_text and isinstance(given, dict):
        arguments: Any = json.dumps(given, ensure_ascii=False)
    elif not as_text and isinstance(given, str):
        arguments = _as_object(given)
    else:
        return call
    changed = {**inner, "arguments": arguments}
    return {**call, "function": changed} if "function" in call else changed


def _as_object(text: str) -> Any:
    """The JSON object in `text`, as engines read it. `text` itself if it is none, or says a key twice."""
    if not text.strip():
        return {}
    try:
        return json.loads(text, object_pairs_hook=_once) if text.lstrip().startswith("{") else text
    except ValueError:
        return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)
