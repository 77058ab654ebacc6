"""Where the words of each assistant turn stand in what the chat template renders."""

from __future__ import annotations

from dataclasses import dataclass

from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.chat import Chat, Span
from draftbridge.capture.mask_refusals import refused
from draftbridge.capture.message_forms import Message
from draftbridge.capture.said import split_reasoning


@dataclass(frozen=True)
class Turn:
    """One assistant turn, as the engine sees it when the turn is the last one."""

    index: int
    text: str
    """The conversation as far as this turn."""
    spans: tuple[Span, ...]
    """What the model generates of `text`."""
    replies: tuple[str, ...]
    """The text of each span, cut out by itself and not by `spans`: the proof compares the two."""


def turn_by_prompt(chat: Chat, index: int) -> Turn:
    """For a template without markers: the turn begins where the generation prompt before it ends.

    Raises FEATURE_INVALID if the template renders prompt and turn in ways that do not fit together.
    """
    text = chat.upto(index + 1)
    prompt = prompt_before(chat, index)
    if prompt is None or not text.startswith(prompt):
        return _probed(chat, index, text, prompt)
    begin = len(prompt) + len(_unprompted_header(chat, index, text, prompt))
    return Turn(index, text, ((begin, len(text)),), (text.removeprefix(text[:begin]),))


def prompt_before(chat: Chat, index: int) -> str | None:
    """The prompt that the engine gets for turn `index`. None where there is none, or the template refuses it."""
    try:
        return chat.upto(index, prompt=True) if index > 0 else None
    except BridgeError:
        return None


def turn_by_markers(chat: Chat, index: int) -> Turn:
    """For a template with `{% generation %}` markers: the marked parts that this turn adds."""
    text, spans = chat.upto(index + 1), chat.marked(index + 1)
    turns = sum(message.get("role") == "assistant" for message in chat.messages[: index + 1])
    own = spans[-1:] if len(spans) == turns else spans[len(chat.marked(index)) if index else 0 :]
    if not own:
        raise refused("markers-not-followed", chat.name, f"messages[{index}]", "no marked text for this turn")
    before = chat.tried(chat.messages[:index]) if index else ""
    if before is not None and text.startswith(before) and own[0][0] < len(before):
        found = "marked text that stands before the turn: the markers are around what others say"
        raise refused("markers-not-followed", chat.name, f"messages[{index}]", found)
    return Turn(index, text, tuple(own), tuple(text[begin:end] for begin, end in own))


def part_in_whole(chat: Chat, index: int) -> tuple[Span, str]:
    """Where the whole rendering has turn `index`, for a template that renders it otherwise than as the last turn."""
    later = chat.messages[index + 1 :]
    header = _header(chat, index, later)
    behind = _behind_header(chat, index, header, later)
    rest = _rest(chat, index, later)
    end = len(chat.whole) - len(rest)
    begin = len(chat.whole) - len(behind)
    if not chat.whole.endswith(behind) or not behind.endswith(rest) or begin >= end:
        raise lost(chat, index)
    return (begin, end), behind.removesuffix(rest)


def _behind_header(chat: Chat, index: int, header: _Header, later: list[Message]) -> str:
    """The end of the whole rendering, from the words of turn `index` on."""
    word, other = chat.probes
    before, message = chat.messages[:index], chat.messages[index]
    if prompt_before(chat, index) is None:
        probe = _required(chat, index, [*before, {"role": message["role"], "content": word}, *later])
        begin = probe.find(word) - header.lead
        if chat.whole[:begin] != probe[:begin]:
            raise lost(chat, index)
        return chat.whole[begin:]
    asked = {**before[-1], "content": other}
    behind = _between(chat.tried([*before[:-1], asked, message, *later]), other, None)
    if behind is None or not behind.startswith(header.text):
        raise lost(chat, index)
    return behind.removeprefix(header.text)


def _rest(chat: Chat, index: int, later: list[Message]) -> str:
    """The end of the whole rendering, from behind turn `index` on."""
    word = chat.probes[0]
    spoken = {"role": chat.messages[index]["role"], "content": word}
    alone = [*chat.messages[:index], spoken]
    behind = _between(_required(chat, index, [*alone, *later]), word, None)
    plain = _between(chat.tried(alone), word, None)
    prompted = _between(chat.tried(alone, prompt=True), word, None)
    prompt = generation_prompt(chat)
    # The last turn of a conversation may end with another token, but not one that is answered.
    answered = prompted.removesuffix(prompt) if prompted is not None and prompt else None
    for tail in (answered, plain):
        if tail is not None and behind is not None and behind.startswith(tail):
            return behind.removeprefix(tail)
    raise lost(chat, index)


def lost(chat: Chat, index: int, found: str = "a turn whose text depends on later turns") -> BridgeError:
    return refused("turn-not-found", chat.name, f"messages[{index}]", found)


@dataclass(frozen=True)
class _Header:
    """What stands before the words of a turn, read from a rendering where the words are a probe."""

    text: str
    """The end of the prompt, as far as the rendered turn has it too."""
    prompted: str
    """The end of the prompt as the engine gets it. Longer than `text` if it opens a thinking block."""
    lead: int
    """How many characters between header and words the model generates itself."""


def _probed(chat: Chat, index: int, text: str, prompt: str | None) -> Turn:
    """The turn, if the rendered turn does not begin as the prompt does."""
    word = chat.probes[0]
    spoken = {"role": chat.messages[index]["role"], "content": word}
    probe = _required(chat, index, [*chat.messages[:index], spoken])
    header = _header(chat, index, [])
    begin = probe.find(word) - header.lead
    if text[:begin] != probe[:begin]:
        raise lost(chat, index)
    reply = text.removeprefix(probe[:begin])
    if prompt is None:
        return Turn(index, text, ((begin, len(text)),), (reply,))
    thought = _thought_aloud(chat, index, header, reply, probe, prompt)
    if thought is not None:
        return Turn(index, prompt + thought, ((len(prompt), len(prompt + thought)),), (thought,))
    if probe[:begin] == prompt.removesuffix(header.prompted) + header.text:
        return Turn(index, text, ((begin, len(text)),), (reply,))
    if header.text != header.prompted:
        raise lost(chat, index)
    # The template writes the prompt itself in another way once it is answered (Mistral's system turn).
    return Turn(index, prompt + reply, ((len(prompt), len(prompt + reply)),), (reply,))


def _thought_aloud(chat: Chat, index: int, header: _Header, reply: str, probe: str, prompt: str) -> str | None:
    """What the model generates after a prompt that opens a thinking block which the rendered turn leaves out.

    None unless the content has the thoughts: then it is what the model said behind the opening.
    """
    content = chat.messages[index].get("content")
    opening = header.prompted.removeprefix(header.text)
    split = split_reasoning(content) if isinstance(content, str) else None
    if not opening or split is None or not split[0] or split[0] in reply:
        return None
    assert isinstance(content, str)
    begun = content if not content.lstrip().startswith(opening.strip()) else content.lstrip()[len(opening.strip()) :]
    if opening.endswith("\n"):
        begun = begun.removeprefix("\n")
    word = chat.probes[0]
    return begun + probe[probe.find(word) + len(word) :]


def _header(chat: Chat, index: int, later: list[Message]) -> _Header:
    """The header of turn `index`; `later` are the messages behind it."""
    word, other = chat.probes
    spoken = {"role": chat.messages[index]["role"], "content": word}
    if prompt_before(chat, index) is None:
        return _header_without_prompt(chat, index, [*chat.messages[:index], spoken, *later])
    asked = {**chat.messages[index - 1], "content": other}
    before = chat.messages[: index - 1]
    prompted = _between(chat.tried([*before, asked], prompt=True), other, None)
    between = _between(chat.tried([*before, asked, spoken, *later]), other, word)
    if prompted is None or between is None:
        raise lost(chat, index)
    if between.startswith(prompted):
        return _Header(prompted, prompted, len(between) - len(prompted))
    if between.strip() and _opens_a_block(prompted, between):
        return _Header(between, prompted, 0)
    raise lost(chat, index)


def _header_without_prompt(chat: Chat, index: int, messages: list[Message]) -> _Header:
    """For a conversation that the assistant begins."""
    prompt = generation_prompt(chat)
    before = _required(chat, index, messages).partition(chat.probes[0])[0]
    if prompt is None:
        raise lost(chat, index, "a first turn without a prompt")
    if not prompt:
        return _Header("", "", 0)
    if prompt in before:
        return _Header(prompt, prompt, len(before) - before.rfind(prompt) - len(prompt))
    for length in range(len(prompt) - 1, 0, -1):
        if before.endswith(prompt[:length]) and _opens_a_block(prompt, prompt[:length]):
            return _Header(prompt[:length], prompt, 0)
    raise lost(chat, index, "a first turn without the generation prompt")


def _opens_a_block(prompt: str, header: str) -> bool:
    """Whether `prompt` is `header` and the opening of a block, such as a thinking block."""
    return prompt.startswith(header) and prompt.removeprefix(header).lstrip().startswith(("<", "["))


def generation_prompt(chat: Chat) -> str | None:
    """What the template puts behind a user turn as the header of the answer. None if it cannot be told."""
    word = chat.probes[1]
    asked: list[Message] = [{"role": "user", "content": word}]
    plain = _between(chat.tried(asked), word, None)
    prompted = _between(chat.tried(asked, prompt=True), word, None)
    if plain is None or prompted is None:
        return None
    for ending in (plain, plain.removesuffix(chat.eos)):
        if prompted.startswith(ending):
            return prompted.removeprefix(ending)
    return None


def _unprompted_header(chat: Chat, index: int, text: str, prompt: str) -> str:
    """The header of a turn that stands behind `prompt`, where the template put no generation prompt there."""
    if chat.takes_prompt:
        header = _usual_prompt(chat)
        return header if header and not prompt.endswith(header) and text.startswith(prompt + header) else ""
    spoken = {"role": chat.messages[index]["role"], "content": chat.probes[0]}
    probe = _required(chat, index, [*chat.messages[:index], spoken])
    header = probe.removeprefix(prompt).partition(chat.probes[0])[0]
    if not header.strip():
        return ""
    if not text.startswith(prompt + header):
        raise lost(chat, index)
    return header


def _usual_prompt(chat: Chat) -> str | None:
    """The generation prompt, looked up once for each template."""
    key = (chat.template, chat.eos)
    if key not in _PROMPTS:
        _PROMPTS[key] = generation_prompt(chat)
    return _PROMPTS[key]


_PROMPTS: dict[tuple[str, str], str | None] = {}


def _between(text: str | None, first: str, second: str | None) -> str | None:
    """What stands behind `first` and before `second`. None unless `text` has each of them once."""
    if text is None or text.count(first) != 1 or (second is not None and text.count(second) != 1):
        return None
    behind = text.partition(first)[2]
    return behind if second is None else behind.partition(second)[0] if second in behind else None


def _required(chat: Chat, index: int, messages: list[Message]) -> str:
    text = chat.tried(messages)
    if text is None or text.count(chat.probes[0]) != 1:
        raise lost(chat, index)
    return text
