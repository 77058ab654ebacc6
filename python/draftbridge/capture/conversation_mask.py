"""Conversations as tokens, with a mask over what the assistant said.

The mask covers, for every assistant turn, all that the chat template puts after the header of the turn: the answer, the
end-of-turn token, and what follows it before the next turn (for ChatML the newline, as the reference's pattern
`<|im_end|>\n` does); or what the template's `{% generation %}` markers say. It is derived from the text, and proved:
the masked tokens of each turn, decoded, must be the text of that turn.

A template may render a turn otherwise once later turns follow (Qwen3 leaves earlier reasoning out). Such a conversation
is several samples, each as far as a turn, as the engine saw it when it generated that turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.chat import Chat, Span
from draftbridge.capture.chat_template import has_markers, template_of
from draftbridge.capture.empty_thought import without_empty_thought
from draftbridge.capture.mask_proof import Reader, reader_of
from draftbridge.capture.mask_refusals import refused
from draftbridge.capture.said import require_all_said, require_tools, says_something
from draftbridge.capture.token_spans import mask_of, tokenized, tokenized_all, tokenized_apart, tokens_of
from draftbridge.capture.turn_spans import (
    Turn,
    generation_prompt,
    part_in_whole,
    turn_by_markers,
    turn_by_prompt,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["EncodedSample", "Turns", "encode", "encode_all", "mask_of", "mask_rule_of"]

Turns = Literal["all", "last", "as-rendered"]
_Tokens = tuple[list[int], list[Span]]
"""Ids and offsets of a text."""


@dataclass(frozen=True)
class EncodedSample:
    """Token ids and mask (0/1, same length)."""

    ids: list[int]
    mask: list[int]
    turn: int | None
    """None for the one sample of a whole conversation; else the assistant turn with which the sample ends."""


@dataclass(frozen=True)
class _Part:
    """What one sample trains of its text."""

    spans: tuple[Span, ...]
    replies: tuple[str, ...]


@dataclass(frozen=True)
class _Planned:
    """A sample before its text is tokenized."""

    chat: Chat
    text: str
    parts: tuple[_Part, ...]
    turn: int | None


def encode(
    tokenizer: PreTrainedTokenizerBase, conversation: dict[str, Any], *, turns: Turns = "all", today: str | None = None
) -> list[EncodedSample]:
    """The samples of `{id, messages, tools?}` or `{id, input_ids, loss_start}`.

    `turns`: "all" trains every answer exactly once, in one sample if the template renders each turn for good, or else
    in several; "last" trains the last answer only; "as-rendered" gives the one sample of the whole rendering. An answer
    that says nothing is not trained. `today` (ISO date): what the template takes for the current date.

    Raises FEATURE_INVALID, with a sentence of mask_refusals.py, for a conversation whose mask cannot be proved, or
    whose template leaves out what the assistant said.
    """
    [samples] = encode_all(tokenizer, [conversation], turns=turns, today=today)
    if isinstance(samples, BridgeError):
        raise samples
    return samples


def encode_all(
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[dict[str, Any]],
    *,
    turns: Turns = "all",
    today: str | None = None,
) -> list[list[EncodedSample] | BridgeError]:
    """As `encode` for each conversation; its FEATURE_INVALID in the place of one that is refused. All texts are
    tokenized in one call."""
    planned = [_planned(tokenizer, one, turns, today) for one in conversations]
    waiting = [plan for plans in planned if isinstance(plans, list) for plan in plans if isinstance(plan, _Planned)]
    tokens = _tokenized_if_all_can_be(tokenizer, [plan.text for plan in waiting])
    by_plan = {id(plan): own for plan, own in zip(waiting, tokens, strict=True)}
    return [plans if isinstance(plans, BridgeError) else _finished(tokenizer, plans, by_plan) for plans in planned]


def mask_rule_of(tokenizer: PreTrainedTokenizerBase) -> Literal["markers", "prefixes"]:
    """What the masks come from: the template's own markers, or how it renders prefixes of a conversation."""
    return "markers" if has_markers(template_of(tokenizer)) else "prefixes"


def _planned(
    tokenizer: PreTrainedTokenizerBase, conversation: dict[str, Any], turns: Turns, today: str | None
) -> list[EncodedSample | _Planned] | BridgeError:
    try:
        if "input_ids" in conversation:
            ids = list(conversation["input_ids"])
            start = min(conversation["loss_start"], len(ids))
            return [EncodedSample(ids, [0] * start + [1] * (len(ids) - start), None)]
        return [*_plans(Chat(tokenizer, conversation, today), turns)]
    except BridgeError as exc:
        return _if_refused(exc)


def _finished(
    tokenizer: PreTrainedTokenizerBase, plans: list[EncodedSample | _Planned], tokens: dict[int, _Tokens | None]
) -> list[EncodedSample] | BridgeError:
    try:
        return [
            plan if isinstance(plan, EncodedSample) else _sample(tokenizer, plan, tokens[id(plan)]) for plan in plans
        ]
    except BridgeError as exc:
        return _if_refused(exc)


def _if_refused(error: BridgeError) -> BridgeError:
    if error.code != "FEATURE_INVALID":
        raise error
    return error


def _tokenized_if_all_can_be(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[_Tokens | None]:
    """None for each where the tokenizer refuses one: then each is tried alone, so that the right one is named."""
    try:
        return [*tokenized_all(tokenizer, texts)] if texts else []
    except (TypeError, UnicodeError, ValueError):
        return [None] * len(texts)


def _plans(chat: Chat, turns: Turns) -> list[_Planned]:
    require_tools(chat)
    answers = [at for at, message in enumerate(chat.messages) if message.get("role") == "assistant"]
    if turns == "last":
        answers = answers[-1:]
    answers = [at for at in answers if says_something(chat.messages[at])]
    if not answers:
        return [_Planned(chat, chat.whole, (), None)]
    if turns == "as-rendered":
        return [_Planned(chat, chat.whole, tuple(_as_rendered(chat, at) for at in answers), None)]
    found = [_turn(chat, at) for at in answers]
    for turn in found:
        require_all_said(chat, turn.index, "".join(turn.replies))
    if turns == "last":
        return [_Planned(chat, turn.text, (_Part(turn.spans, turn.replies),), turn.index) for turn in found]
    return _all(chat, found)


def _all(chat: Chat, turns: list[Turn]) -> list[_Planned]:
    whole = [part for turn in turns if (part := _within(chat, chat.whole, turn)) is not None]
    if len(whole) == len(turns):
        return [_Planned(chat, chat.whole, tuple(whole), None)]
    samples: list[_Planned] = []
    waiting = turns
    while waiting:
        last = waiting[-1]
        inside = {turn.index: _within(chat, last.text, turn) for turn in waiting}
        parts = [part for part in inside.values() if part is not None]
        samples.append(_Planned(chat, last.text, tuple(parts), last.index))
        waiting = [turn for turn in waiting if inside[turn.index] is None]
    return samples[::-1]


def _within(chat: Chat, text: str, turn: Turn) -> _Part | None:
    """The part that `turn` has in `text`, if `text` begins as the turn's own does."""
    if text.startswith(turn.text):
        return _Part(turn.spans, turn.replies)
    # Some templates (Phi) end every conversation with a token that no turn has once another follows.
    kept = turn.text.removesuffix(chat.eos)
    (*_, (begin, end)), reply = turn.spans, turn.replies[-1]
    if not text.startswith(kept) or not text.endswith(chat.eos) or begin >= len(kept):
        return None
    prompted = chat.tried(chat.messages[: turn.index + 1], prompt=True)
    if prompted is None or prompted != kept + (generation_prompt(chat) or prompted):
        return None
    if end <= len(kept):
        return _Part(turn.spans, turn.replies)
    return _Part((*turn.spans[:-1], (begin, len(kept))), (*turn.replies[:-1], reply.removesuffix(chat.eos)))


def _turn(chat: Chat, index: int) -> Turn:
    if has_markers(chat.template):
        return turn_by_markers(chat, index)
    return without_empty_thought(turn_by_prompt(chat, index), chat.messages[index])


def _as_rendered(chat: Chat, index: int) -> _Part:
    last = index == len(chat.messages) - 1
    part = _marked_in_whole(chat, index) if has_markers(chat.template) else _rendered_in_whole(chat, index)
    require_all_said(chat, index, "".join(part.replies), reasoning=last)
    return part


def _rendered_in_whole(chat: Chat, index: int) -> _Part:
    part = _within(chat, chat.whole, _turn(chat, index))
    if part is not None:
        return part
    span, reply = part_in_whole(chat, index)
    return _Part((span,), (reply,))


def _marked_in_whole(chat: Chat, index: int) -> _Part:
    assistants = [at for at, message in enumerate(chat.messages) if message.get("role") == "assistant"]
    spans = chat.marked(len(chat.messages))
    if len(spans) != len(assistants):
        part = _within(chat, chat.whole, turn_by_markers(chat, index))
        if part is None:
            raise refused("markers-not-followed", chat.name, f"messages[{index}]", "marked text that depends on turns")
        return part
    begin, end = spans[assistants.index(index)]
    return _Part(((begin, end),), (chat.whole[begin:end],))


def _sample(tokenizer: PreTrainedTokenizerBase, plan: _Planned, tokens: _Tokens | None) -> EncodedSample:
    """The sample that trains the parts of the plan, proved. `tokens`: of its text, where they are known already."""
    chat, text = plan.chat, plan.text
    spans = [span for part in plan.parts for span in part.spans]
    replies = [reply for part in plan.parts for reply in part.replies]
    reader = reader_of(tokenizer)
    try:
        ids, offsets = tokens or tokenized(tokenizer, text)
        trained = tokens_of(offsets, spans)
        wrong = _wrong(reader, ids, trained, replies)
        if wrong:
            cuts = sorted({border for at in wrong for border in spans[at]})
            ids, offsets = tokenized_apart(tokenizer, reader, text, cuts)
            trained = tokens_of(offsets, spans)
            wrong = _wrong(reader, ids, trained, replies) or ([] if reader.spells(ids, text) else wrong)
    except (TypeError, UnicodeError, ValueError) as exc:
        raise refused("untokenized", chat.name, "messages", f"{type(exc).__name__}: {exc}"[:300]) from exc
    if wrong:
        have = reader.shown([ids[at] for at in trained[wrong[0]]])
        found = f"tokens for {_brief(have)}; the template renders {_brief(replies[wrong[0]])}"
        raise refused("proof-failed", chat.name, "messages", found)
    mask = [0] * len(ids)
    for part in trained:
        mask[part.start : part.stop] = [1] * len(part)
    return EncodedSample(ids, mask, plan.turn)


def _wrong(reader: Reader, ids: list[int], tokens: list[range], replies: list[str]) -> list[int]:
    """Those of `replies` that their tokens do not spell."""
    parts = zip(tokens, replies, strict=True)
    return [at for at, (part, reply) in enumerate(parts) if not reader.spells(ids[part.start : part.stop], reply)]


def _brief(text: str) -> str:
    return ascii(text) if len(text) <= 80 else f"{text[:40]!a} ... {text[-30:]!a}"
