"""The turns of a conversation that the target writes anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.chat import Chat
from draftbridge.capture.message_forms import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WORD = "zq0user0qz"


def context_of(conversation: dict[str, Any], answers: Sequence[Message]) -> tuple[dict[str, Any], int]:
    """What stands before the next answer, and how many answers are wanted after it.

    Every turn of the assistant is written anew; behind a last turn of the user one is added. Raises FEATURE_INVALID for
    a conversation whose turns hang on what the old assistant said.
    """
    messages = _messages(conversation)
    places = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    done = [*answers]
    at = places[len(done)]
    said = {place: answer for place, answer in zip(places, done, strict=False)}
    before = [said.get(place, message) for place, message in enumerate(messages[:at])]
    return {**_beside(conversation), "id": "conversation", "messages": before}, len(places) - len(done) - 1


def with_answers(conversation: dict[str, Any], answers: Sequence[Message]) -> dict[str, Any]:
    """The conversation with all its answers written anew."""
    waiting = iter(answers)
    messages = [next(waiting) if message["role"] == "assistant" else message for message in _messages(conversation)]
    return {**_beside(conversation), "messages": messages}


def first_user_prompt(tokenizer: PreTrainedTokenizerBase, today: str | None) -> str:
    """What the chat template renders before the first word of a user."""
    chat = Chat(tokenizer, {"id": "prompt", "messages": [{"role": "user", "content": _WORD}]}, today)
    before, word, _ = chat.whole.partition(_WORD)
    if not word or not before.strip():
        raise BridgeError(
            "CONFIG_INVALID",
            "this chat template puts nothing before a user's words, so the target cannot be made to write them",
            field="generate.magpie",
            found=f"a first turn that begins with {before!r}",
            fix="set generate.magpie to 0, and give data.conversations",
        )
    return before


def _beside(conversation: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in conversation.items() if key not in ("messages", "id")}


def _messages(conversation: dict[str, Any]) -> list[Message]:
    if "messages" not in conversation:
        raise _refused("input_ids", "tokens without messages", "give `messages`")
    messages: list[Message] = [*conversation["messages"]]
    if messages and messages[-1]["role"] == "user":
        messages.append({"role": "assistant", "content": ""})
    before = "system"
    for at, message in enumerate(messages):
        _require_free(message, at, before)
        before = message["role"]
    if before != "assistant":
        raise _refused(f"messages[{len(messages) - 1}]", f"a last turn of the {before}", "remove it")
    return messages


def _require_free(message: Message, at: int, before: str) -> None:
    """Raises FEATURE_INVALID for a message that only has a meaning beside the old answers."""
    role = message["role"]
    if message.get("tool_calls") or role in ("tool", "function", "ipython"):
        raise _refused(f"messages[{at}]", "a tool's call or answer", "remove conversations with tool calls")
    if role == "assistant" and before == "system":
        raise _refused(f"messages[{at}]", "an assistant's turn before any of a user", "remove that turn")
    if role == "assistant" and before == "assistant":
        raise _refused(f"messages[{at}]", "a second turn of the assistant in a row", "join the two turns")


def _refused(field: str, found: str, fix: str) -> BridgeError:
    what = "the target cannot write this conversation anew"
    return BridgeError("FEATURE_INVALID", what, field=field, found=found, fix=fix)
