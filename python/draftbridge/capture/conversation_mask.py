"""Conversations as tokens, with a mask over what the assistant said."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.answer_spans import Answer, answer_of, not_found
from draftbridge.capture.chat_template import ChatTemplate, Message
from draftbridge.capture.said_whole import expect_whole, is_empty
from draftbridge.capture.token_mask import masked_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Turns = Literal["all", "last", "as-rendered"]


@dataclass(frozen=True)
class EncodedSample:
    """Token ids and mask (0/1, same length). `turn`: the only answer that it trains, by its place in the messages."""

    ids: list[int]
    mask: list[int]
    turn: int | None = None


def encode(
    tokenizer: PreTrainedTokenizerBase,
    conversation: dict[str, Any],
    *,
    turns: Turns = "all",
    today: str | None = None,
) -> list[EncodedSample]:
    """The samples of `{messages, tools?}` or `{input_ids, loss_start}`.

    One sample trains all answers where the template renders each turn as the model saw it. A template that renders
    earlier turns in another way once later ones follow (it drops their thoughts, or moves the system message) gives a
    sample for each answer. `turns`: `all`, only the `last` answer, or all of them `as-rendered` in one sample.
    `today`: an ISO date for templates that write one.

    Raises FEATURE_INVALID for a conversation that the template cannot render, whose answers cannot be found in what it
    renders, or of which it leaves something out.
    """
    if "input_ids" in conversation:
        ids = list(conversation["input_ids"])
        start = min(conversation["loss_start"], len(ids))
        return [EncodedSample(ids, [0] * start + [1] * (len(ids) - start))]
    date = None if today is None else datetime.date.fromisoformat(today)
    template = ChatTemplate(tokenizer, conversation.get("tools"), date)
    _expect_offsets(tokenizer, template)
    messages: list[Message] = conversation["messages"]
    said = [at for at, message in enumerate(messages) if message["role"] == "assistant" and not is_empty(message)]
    if not said:
        return [EncodedSample(*masked_tokens(tokenizer, template.render(messages), []))]
    if turns == "last":
        return [_alone(tokenizer, messages, answer_of(template, messages, at)) for at in said[-1:]]
    whole = template.render(messages)
    answers = [answer_of(template, messages, at) for at in said]
    rewritten = next((answer.turn for answer in answers if not _stands_in(whole, answer, messages)), None)
    if rewritten is None:
        spans = [span for answer in answers for span in answer.spans]
        return [EncodedSample(*masked_tokens(tokenizer, whole, spans))]
    if turns == "as-rendered":
        raise not_found(rewritten, "a turn that is rendered in another way once later turns follow")
    return [_alone(tokenizer, messages, answer) for answer in answers]


def _stands_in(whole: str, answer: Answer, messages: list[Message]) -> bool:
    """Whether the answer stands in the whole conversation as it does at its turn, and the last one complete."""
    if not whole.startswith(answer.text):
        return False
    expect_whole(messages[answer.turn], answer.said, answer.turn)
    return True


def _alone(tokenizer: Any, messages: list[Message], answer: Answer) -> EncodedSample:
    expect_whole(messages[answer.turn], answer.said, answer.turn)
    return EncodedSample(*masked_tokens(tokenizer, answer.text, answer.spans), answer.turn)


def _expect_offsets(tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> None:
    # Asked for first: without a template the tokenizer does not matter.
    _ = template.text
    if tokenizer.is_fast:
        return
    raise BridgeError(
        "CONFIG_INVALID",
        "the loss mask needs a tokenizer that knows which characters a token covers",
        field="target.tokenizer",
        found=type(tokenizer).__name__,
        fix="name a folder with a tokenizer.json",
    )
