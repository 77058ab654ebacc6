"""A stored sample as text: the trained parts are those of the mask, and no character is lost."""

from __future__ import annotations

import random
from itertools import groupby

import pytest
from chat_families import FAMILIES
from chat_tokenizers import EXACT, tokenizer_of
from draftbridge.capture.sample_text import SampleText
from make_tiny_target import tiny_tokenizer

TEXT = "So: 2+2=4,\n\n naïve café 日本 👩‍🚀 <b>&amp;</b> end"


def test_a_character_of_several_tokens_belongs_to_the_part_in_which_it_begins() -> None:
    """One token is one byte, so what each character's first token says can be read off the text."""
    tokenizer = tiny_tokenizer()
    choice = random.Random(3)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert len(ids) == len(TEXT.encode())
    firsts = [len(TEXT[:at].encode()) for at in range(len(TEXT))]
    for _ in range(200):
        mask = [int(choice.random() < 0.5) for _ in ids]
        flags = groupby(zip(TEXT, firsts, strict=True), key=lambda one: mask[one[1]] == 1)
        expected = [("".join(sign for sign, _ in part), trained) for trained, part in flags]
        assert SampleText(tokenizer).parts(ids, mask) == expected


@pytest.mark.parametrize("kind", EXACT)
def test_the_parts_together_are_the_text_with_its_special_tokens(kind: str) -> None:
    tokenizer = tokenizer_of(FAMILIES["chatml"], kind)
    special = tokenizer.eos_token
    text = f"{special}The first answer\n {special} And more of it: naïve 日本{special}"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    mask = [at % 3 % 2 for at in range(len(ids))]
    parts = SampleText(tokenizer).parts(ids, mask)
    assert "".join(part for part, _ in parts) == text
    assert [trained for _, trained in parts] == [trained for trained, _ in groupby(trained for _, trained in parts)]


def test_what_is_no_text_is_shown_as_such() -> None:
    tokenizer = tiny_tokenizer()
    broken = tokenizer("é", add_special_tokens=False)["input_ids"][:1]
    # 319 is a row of the target's table that no token has.
    assert SampleText(tokenizer).parts([*broken, 319, *broken], [1, 1, 0]) == [
        ("\ufffd\ufffd", True),
        ("\ufffd", False),
    ]
    assert SampleText(tokenizer).parts([], []) == []
