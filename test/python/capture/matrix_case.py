"""Conversations for the template matrix, and what each sample must train, worked out by itself from rendered text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from chat_families import Family

TODAY = "2026-02-03"
ANSWERS = ("The first answer:\n\n  2+2=4. 你好", "Second answer, café", "The third is user. ")
THOUGHTS = ("thoughts on one", "thoughts on two", "thoughts on three")
CALLS = [{"id": "call12345", "type": "function", "function": {"name": "get_temp", "arguments": {"city": "Oslo"}}}]
TOOLS = [{"type": "function", "function": {"name": "get_temp", "description": "Reads it", "parameters": {}}}]


@dataclass(frozen=True)
class Shape:
    rounds: int
    system: bool
    tools: bool
    thinking: str
    """none, field, content (inside the content), or mixed: in the last two answers' own field."""


def shapes() -> Iterator[Shape]:
    for rounds, system, tools, thinking in product(
        (1, 3), (False, True), (False, True), ("none", "field", "content", "mixed")
    ):
        yield Shape(rounds, system, tools, thinking)


def conversation(shape: Shape, field: str) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Speak well."}] if shape.system else []
    for number in range(shape.rounds):
        messages.append({"role": "user", "content": f"question {number}?"})
        if shape.tools and number == 0:
            messages.append({"role": "assistant", "content": "", "tool_calls": CALLS})
            messages.append({"role": "tool", "tool_call_id": "call12345", "name": "get_temp", "content": "7 degrees"})
        answer: dict[str, Any] = {"role": "assistant", "content": ANSWERS[number]}
        if shape.thinking == "field" or (shape.thinking == "mixed" and number > 0):
            answer[field] = THOUGHTS[number]
        if shape.thinking == "content":
            answer["content"] = f"<think>\n{THOUGHTS[number]}\n</think>\n\n{ANSWERS[number]}"
        messages.append(answer)
    return {"id": "c", "messages": messages} | ({"tools": TOOLS} if shape.tools else {})


class Oracle:
    """Finds the assistant's words in rendered text by the family's own pattern, with no look at prompts or markers."""

    def __init__(self, tokenizer: Any, family: Family, name: str, talk: dict[str, Any]) -> None:
        self._tokenizer, self._family, self._name = tokenizer, family, name
        self._talk, self.messages = talk, talk["messages"]
        self.turns = [at for at, message in enumerate(self.messages) if message["role"] == "assistant"]

    def render(self, count: int, *, prompt: bool = False) -> str:
        from datetime import date

        day = date.fromisoformat(TODAY)
        messages = [self._form(message) for message in self.messages[:count]]
        return str(
            self._tokenizer.apply_chat_template(
                messages,
                tools=self._talk.get("tools"),
                tokenize=False,
                add_generation_prompt=prompt,
                strftime_now=day.strftime,
            )
        )

    def _form(self, message: dict[str, Any]) -> dict[str, Any]:
        """DeepSeek's templates want no content beside a call, and its arguments as text."""
        if not self._name.startswith("deepseek") or not message.get("tool_calls"):
            return message
        function = {"name": "get_temp", "arguments": '{"city": "Oslo"}'}
        return {**message, "content": None, "tool_calls": [{**CALLS[0], "function": function}]}

    def seen(self, turn: int) -> tuple[str, str]:
        """The conversation as far as `turn`, as the engine saw it, and what it generated there."""
        text = self.render(turn + 1)
        own = self._said(text)[-1][1]
        content = self.messages[turn]["content"]
        if self._name == "mistral":
            return self.render(turn) + own, own
        if self._name == "deepseek-r1" and "</think>" in content:
            own = content.removeprefix("<think>\n") + self._family.eos
            return self.render(turn, prompt=True) + own, own
        return text, own

    def parts(self, turn: int | None, trained: list[int]) -> list[tuple[str, bool]]:
        """The text of a sample, cut into what it trains and what it does not."""
        text = self.render(len(self.messages)) if turn is None else self.seen(turn)[0]
        pieces: list[tuple[str, bool]] = []
        done = 0
        if turn is not None and text.endswith(self.seen(turn)[1]) and trained == [turn]:
            own = self.seen(turn)[1]
            return [(text.removesuffix(own), False), (own, True)]
        for at, (begin, own) in zip(self.turns, self._said(text), strict=False):
            if at in trained:
                pieces += [(text[done:begin], False), (own, True)]
                done = begin + len(own)
        return [*pieces, (text[done:], False)] if text[done:] else pieces

    def _said(self, text: str) -> list[tuple[int, str]]:
        found = re.finditer(self._family.reply, text, re.DOTALL)
        return [(match.start("said"), match["said"]) for match in found]
