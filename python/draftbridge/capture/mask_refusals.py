"""Why a conversation cannot be trained on. Each kind has one fixed sentence, so that refusals can be counted by it."""

from __future__ import annotations

from typing import Literal

from draftbridge.bridge.errors import BridgeError

Reason = Literal[
    "unrendered",
    "turn-not-found",
    "markers-not-followed",
    "words-dropped",
    "reasoning-dropped",
    "tool-call-dropped",
    "tools-dropped",
    "tool-answer-dropped",
    "untokenized",
    "proof-failed",
]

SENTENCES: dict[Reason, tuple[str, str]] = {
    "unrendered": (
        "the chat template cannot render this conversation",
        "bring the roles into the order that the model expects",
    ),
    "turn-not-found": (
        "the assistant's tokens cannot be found in what the chat template renders",
        "use a chat template with {% generation %} markers, or give input_ids and loss_start",
    ),
    "markers-not-followed": (
        "the generation markers of the chat template do not say where the assistant speaks",
        "put {% generation %} around all that the assistant says, or remove the markers",
    ),
    "words-dropped": (
        "the chat template leaves out or alters words of the assistant",
        "use a chat template that renders them, or remove this conversation",
    ),
    "reasoning-dropped": (
        "the chat template leaves out the assistant's reasoning",
        "use a chat template that renders it, or remove the reasoning",
    ),
    "tool-call-dropped": (
        "the chat template leaves out a tool call of the assistant",
        "use a chat template that renders tool calls, or remove this conversation",
    ),
    "tools-dropped": (
        "the chat template leaves out the tools of this conversation",
        "use a chat template that renders tools, or remove this conversation",
    ),
    "tool-answer-dropped": (
        "the chat template leaves out what a tool answered",
        "use a chat template that renders tool turns, or remove this conversation",
    ),
    "untokenized": (
        "the tokenizer cannot read what the chat template renders",
        "remove the characters that it cannot read",
    ),
    "proof-failed": (
        "the tokens that would be trained do not spell what the assistant said",
        "use the tokenizer and chat template of the same model, or give input_ids and loss_start",
    ),
}
"""For each reason: the sentence and what to do."""


def refused(reason: Reason, name: str, field: str, found: str) -> BridgeError:
    """A FEATURE_INVALID for the conversation called `name`."""
    what, fix = SENTENCES[reason]
    return BridgeError("FEATURE_INVALID", what, file=name, field=field, found=found, fix=fix)
