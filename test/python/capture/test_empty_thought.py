"""An empty block of thoughts is no answer, and the words behind it keep their blanks."""

from __future__ import annotations

import pytest
from draftbridge.capture.empty_thought import without_empty_thought
from draftbridge.capture.turn_spans import Turn

EMPTY = "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("content", "reply", "trained"),
    [
        ("yes", f"{EMPTY}yes<|im_end|>", "yes<|im_end|>"),
        ("\n\nyes", f"{EMPTY}\n\nyes<|im_end|>", "\n\nyes<|im_end|>"),
        (" yes", f"{EMPTY} yes<|im_end|>", " yes<|im_end|>"),
        ("yes", "<think></think>yes", "yes"),
        # What the assistant said itself.
        (f"{EMPTY}yes", f"{EMPTY}yes<|im_end|>", f"{EMPTY}yes<|im_end|>"),
        ("yes", "<think>\nhm\n</think>\n\nyes", "<think>\nhm\n</think>\n\nyes"),
        ("yes", "yes<|im_end|>", "yes<|im_end|>"),
    ],
)
def test_an_empty_thought_is_part_of_the_prompt(content: str, reply: str, trained: str) -> None:
    text = f"<|im_start|>assistant\n{reply}"
    turn = Turn(1, text, ((len(text) - len(reply), len(text)),), (reply,))
    found = without_empty_thought(turn, {"role": "assistant", "content": content})
    [(begin, end)] = found.spans
    assert text[begin:end] == trained
    assert found.replies == (trained,)
