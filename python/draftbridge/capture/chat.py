"""One conversation and how the chat template renders it, whole or as far as a turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture import chat_template
from draftbridge.capture.mask_refusals import refused

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, Any]
Span = tuple[int, int]


class Chat:
    """Renders a conversation. Every rendering of it goes through here, so that tools and date are always the same."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, conversation: dict[str, Any], today: str | None) -> None:
        """Raises FEATURE_INVALID if the template cannot render the conversation."""
        self.name = str(conversation["id"])
        self.tools: list[Any] | None = conversation.get("tools") or None
        self.template = chat_template.template_of(tokenizer, tools=self.tools is not None)
        self.takes_prompt = "add_generation_prompt" in self.template
        self.eos = str(tokenizer.eos_token or "")
        self._render: Any = tokenizer.apply_chat_template
        self._pinned = {} if today is None else {"strftime_now": _pinned_clock(today)}
        self._known: dict[tuple[int, bool], str] = {}
        self._check_calls(conversation["messages"])
        self.messages, self.whole = self._chosen(conversation["messages"])
        self.probes = _free_words(self.whole, 2)

    def upto(self, count: int, *, prompt: bool = False) -> str:
        """The first `count` messages, with or without the generation prompt behind them."""
        if count == len(self.messages) and not prompt:
            return self.whole
        key = (count, prompt)
        if key not in self._known:
            self._known[key] = self.text(self.messages[:count], prompt=prompt)
        return self._known[key]

    def text(self, messages: Sequence[Message], *, prompt: bool = False, tools: bool = True) -> str:
        """`messages` as rendered. Raises FEATURE_INVALID if the template refuses them."""
        return self._rendered(self.template, messages, prompt=prompt, tools=tools)

    def tried(self, messages: Sequence[Message], *, prompt: bool = False) -> str | None:
        """`messages` as rendered, or None if the template refuses them."""
        try:
            return self.text(messages, prompt=prompt)
        except BridgeError:
            return None

    def marked(self, count: int) -> list[Span]:
        """The spans that the template marks as generated in the first `count` messages."""
        plain = self.upto(count)
        read = chat_template.without_signs(
            self._rendered(chat_template.signed(self.template), self.messages[:count], prompt=False, tools=True)
        )
        if read is None or read[0] != plain:
            raise refused("markers-not-followed", self.name, "messages", "markers that change what is rendered")
        return read[1]

    def _check_calls(self, messages: Sequence[Message]) -> None:
        for at, message in enumerate(messages):
            calls = message.get("tool_calls") or []
            if not isinstance(calls, list) or not all(_is_call(call) for call in calls):
                raise refused("unrendered", self.name, f"messages[{at}].tool_calls", "no list of function calls")

    def _rendered(self, template: str, messages: Sequence[Message], *, prompt: bool, tools: bool) -> str:
        try:
            return str(
                self._render(
                    list(messages),
                    tools=self.tools if tools else None,
                    chat_template=template,
                    tokenize=False,
                    add_generation_prompt=prompt,
                    **self._pinned,
                )
            )
        except Exception as exc:
            lines = str(exc).strip().splitlines()
            found = f"{type(exc).__name__}: {lines[0][:300] if lines else ''}"
            raise refused("unrendered", self.name, "messages", found) from exc

    def _chosen(self, messages: Sequence[Message]) -> tuple[list[Message], str]:
        """The messages in the form that the template reads, and the text of them all.

        Templates differ in what they want beside a tool call: no content or an empty one, arguments as an object or
        as JSON text. Engines pass one or the other; the form that shows the calls is taken.
        """
        first: tuple[list[Message], str] | None = None
        error: BridgeError | None = None
        for form in _forms(messages):
            try:
                text = self.text(form)
            except BridgeError as exc:
                error = error or exc
                continue
            first = first or (form, text)
            if self._shows_calls(form):
                return form, text
        if first is not None:
            return first
        assert error is not None
        raise error

    def _shows_calls(self, messages: Sequence[Message]) -> bool:
        word = "zq0call"
        calls = [call for message in messages for call in message.get("tool_calls") or []]
        if not calls:
            return True
        renamed = [renamed_calls(message, word)[0] for message in messages]
        text = self.tried(renamed)
        return text is not None and word in text


def _is_call(call: Any) -> bool:
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


def _forms(messages: Sequence[Message]) -> Iterator[list[Message]]:
    called = any(message.get("tool_calls") for message in messages)
    yield [_form(message, blank="", as_text=False) for message in messages]
    if called:
        yield [_form(message, blank=None, as_text=False) for message in messages]
        yield [_form(message, blank="", as_text=True) for message in messages]
        yield [_form(message, blank=None, as_text=True) for message in messages]


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


def _free_words(text: str, count: int) -> list[str]:
    """Words that `text` does not have and that no template alters."""
    words: list[str] = []
    number = 0
    while len(words) < count:
        word = f"zq{number}probe{number}qz"
        if word not in text:
            words.append(word)
        number += 1
    return words


def _pinned_clock(today: str) -> Callable[[str], str]:
    day = datetime.fromisoformat(today)
    return lambda pattern: day.strftime(pattern)
