"""Where the answers of the assistant stand in what a chat template renders.

The prompt of a turn is what an engine gives to the model: the messages before it and the header of an answer. The
answer is what the template renders after that: its text, the end-of-turn token, and what follows before the next turn
(for ChatML the newline, as the reference's pattern `<|im_end|>\n` does). A block of thoughts with nothing in it belongs
to the prompt: the template puts it there, and engines that switch thinking off do so too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.chat_template import ChatTemplate, Message, Span

_PROBES = ("Aa", "Zz")
"""Two answers without a common beginning."""
_EDGE = 6
"""Characters that must be the same at the end of a prompt without a header and before the answer."""
_THOUGHT = re.compile(r"\s*(<[^<>]*think[^<>]*>|\[THINK\]|<\|START_THINKING\|>)?\s*", re.IGNORECASE)
"""What a prompt may hold beyond the header of a rendered answer: the beginning of a block of thoughts."""
_NO_THOUGHT = re.compile(r"\s*<([^<>/]*think[^<>/]*)>\s*</\1>\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """An assistant turn. `text`: the conversation up to its end. `spans`: where its answer stands there."""

    turn: int
    text: str
    spans: list[Span]

    @property
    def said(self) -> str:
        return "".join(self.text[begin:end] for begin, end in self.spans)


def answer_of(template: ChatTemplate, messages: list[Message], turn: int) -> Answer:
    """The answer of the assistant turn `turn`. Raises FEATURE_INVALID where it cannot be found for sure."""
    before = template.render(messages[:turn]) if turn > 0 else ""
    if template.has_markers:
        text, spans = template.marked(messages[: turn + 1])
        shared = _shared(before, text)
        return Answer(turn, text, [span for span in spans if span[0] >= shared and span[1] > span[0]])
    text = template.render(messages[: turn + 1])
    text, begin = _beginning(template, messages, turn, before, text)
    thought = _NO_THOUGHT.match(text, begin)
    if thought is not None and not _NO_THOUGHT.match(str(messages[turn].get("content") or "")):
        # The answer itself may begin with blanks.
        begin = min(thought.end(), max(begin, _after_header(template, messages, turn, text)))
    return Answer(turn, text, [(begin, len(text))])


def _beginning(template: ChatTemplate, messages: list[Message], turn: int, before: str, text: str) -> tuple[str, int]:
    """The text of the turn, and where its answer begins there."""
    if turn == 0:
        return text, _beginning_of_first(template, messages, text)
    prompt = template.render(messages[:turn], prompt=True)
    if prompt != before and text.startswith(prompt):
        return text, len(prompt)
    if prompt == before and text.startswith(before):
        begin = _after_header(template, messages, turn, text)
        # A header of blanks is the beginning of what the model says, as for Mistral.
        return text, begin if text[len(before) : begin].strip() else len(before)
    behind = _after_opened_thought(prompt, text)
    if behind is not None and text.startswith(before):
        return text, behind
    return _behind_prompt(template, messages, turn, before, prompt, text)


def _beginning_of_first(template: ChatTemplate, messages: list[Message], text: str) -> int:
    """No prompt stands before an answer that comes first; what it would be shows after a user's message."""
    begin = _after_header(template, messages, 0, text)
    asked = [{"role": "user", "content": _PROBES[0]}]
    before, prompt = template.render(asked), template.render(asked, prompt=True)
    header = prompt[len(before) :] if prompt.startswith(before) else ""
    at = text.rfind(header, 0, begin) if header else -1
    return begin if at == -1 else at + len(header)


def _behind_prompt(
    template: ChatTemplate, messages: list[Message], turn: int, before: str, prompt: str, text: str
) -> tuple[str, int]:
    """For a template that renders the messages before an answer in another way once it is there (Mistral drops the
    system message then): the prompt as the engine gives it, and behind it the answer."""
    begin = _after_header(template, messages, turn, text)
    header = prompt[len(before) :] if prompt.startswith(before) else None
    rendered = text[:begin]
    if header == "":
        rendered = rendered.rstrip()
        header = prompt[-_EDGE:]
    if not header or not rendered.endswith(header):
        raise not_found(turn, "the prompt of the answer is no beginning of what is rendered with it")
    return prompt + text[len(rendered) :], len(prompt)


def _after_opened_thought(prompt: str, text: str) -> int | None:
    """Where an answer begins whose prompt opens a block of thoughts that a rendered answer does not have."""
    begin = _shared(prompt, text)
    # The answer may begin with the same letters as the block.
    opened = prompt.rfind("<", 0, begin)
    return next((at for at in (begin, opened) if at > 0 and _THOUGHT.fullmatch(prompt[at:])), None)


def _after_header(template: ChatTemplate, messages: list[Message], turn: int, text: str) -> int:
    """Where the text of an answer begins: two other answers in its place differ from there on."""
    first, second = (template.render([*messages[:turn], {"role": "assistant", "content": probe}]) for probe in _PROBES)
    header = first[: _shared(first, second)]
    begin = _shared(header, text)
    # Only blanks or a thought may stand between the header and another answer.
    if begin < len(header) and not _THOUGHT.fullmatch(header[begin:]):
        raise not_found(turn, "the template renders this answer in another way than other ones")
    return begin


def _shared(left: str, right: str) -> int:
    """How many characters two texts begin with alike."""
    size = min(len(left), len(right))
    if left[:size] == right[:size]:
        return size
    return next(at for at in range(size) if left[at] != right[at])


def not_found(turn: int, why: str) -> BridgeError:
    return BridgeError(
        "FEATURE_INVALID",
        "the assistant's words cannot be found in what the chat template renders",
        field=f"messages[{turn}]",
        found=why,
        fix="use a chat template with {% generation %} markers, or give input_ids and loss_start",
    )
