"""One conversation and how the chat template renders it, whole or as far as a turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture import chat_template
from draftbridge.capture.mask_refusals import refused
from draftbridge.capture.message_forms import Message, first_words, is_call, message_forms, renamed_calls

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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

    def tried(self, messages: Sequence[Message], *, prompt: bool = False, tools: bool = True) -> str | None:
        """`messages` as rendered, or None if the template refuses them."""
        try:
            return self.text(messages, prompt=prompt, tools=tools)
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
            if not isinstance(calls, list) or not all(is_call(call) for call in calls):
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

        Templates differ in what they want: beside a tool call no content or an empty one, its arguments as an object
        or as JSON text, content as a string or as a list of parts. The first form that shows what is said is taken.
        """
        first: tuple[list[Message], str] | None = None
        error: BridgeError | None = None
        for form in message_forms(messages):
            try:
                text = self.text(form)
            except BridgeError as exc:
                error = error or exc
                continue
            first = first or (form, text)
            if self._shows_calls(form) and _shows_words(form, text):
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


def _shows_words(messages: Sequence[Message], text: str) -> bool:
    """Whether the words are in `text`, as words and not as the printed form of a list."""
    printed = "'type': 'text'" in text or '"type": "text"' in text
    talk = [message for message in messages if message.get("role") in ("user", "assistant")]
    return not printed and all(first_words(message) in text for message in talk)


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
