"""Every template family, with every kind of tokenizer: each mask is exact, or the sample is refused with its reason."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from typing import Any

import pytest
from chat_families import FAMILIES
from chat_families_more import MORE_FAMILIES
from chat_tokenizers import EXACT, KINDS, tokenizer_of
from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.conversation_mask import EncodedSample, encode
from draftbridge.capture.mask_refusals import SENTENCES
from matrix_case import TODAY, Oracle, Shape, conversation, shapes

ALL = FAMILIES | MORE_FAMILIES
REASONS = {what: reason for reason, (what, _) in SENTENCES.items()}


@cache
def tokenizer(name: str, kind: str) -> Any:
    return tokenizer_of(ALL[name], kind)


def talk(name: str, shape: Shape) -> dict[str, Any]:
    return conversation(shape, "thinking" if name == "gpt-oss" else "reasoning_content")


def runs(made: Any, sample: EncodedSample) -> list[tuple[str, bool]]:
    found: list[tuple[list[int], bool]] = []
    for token, flag in zip(sample.ids, sample.mask, strict=True):
        if not found or found[-1][1] != bool(flag):
            found.append(([], bool(flag)))
        found[-1][0].append(token)
    return [(made.decode(ids, clean_up_tokenization_spaces=False), flag) for ids, flag in found]


def squeezed(parts: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Without blanks, for tokenizers that add some."""
    return [("".join(text.split()), flag) for text, flag in parts]


def thoughtless(parts: list[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """A block of thoughts with nothing in it is part of the prompt, unless the template marks it."""
    found: list[tuple[str, bool]] = []
    for text, flag in parts:
        block = re.match(r"\s*<think>\s*</think>\s*", text) if flag and found else None
        if block is not None:
            found[-1] = (found[-1][0] + block[0], False)
        found.append((text[block.end() if block else 0 :], flag))
    return found


def outcome(name: str, kind: str, shape: Shape) -> str:
    """`exact` or the reason of a refusal. Fails for a mask that is not what the oracle finds."""
    made, case = tokenizer(name, kind), talk(name, shape)
    try:
        samples = encode(made, case, today=TODAY)
    except BridgeError as exc:
        return REASONS[str(exc).splitlines()[0]]
    oracle = Oracle(made, ALL[name], name, case)
    left = set(oracle.turns)
    for sample in samples:
        count = sum(flag for _, flag in runs(made, sample))
        last = oracle.turns[-1] if sample.turn is None else sample.turn
        trained = sorted(turn for turn in left if turn <= last)[:count]
        if sample.turn is not None:
            trained = [*[turn for turn in sorted(left) if turn < last][: count - 1], last]
        left -= set(trained)
        want, have = oracle.parts(sample.turn, trained), runs(made, sample)
        want = want if "generation" in ALL[name].template.split() else thoughtless(want)
        if kind not in EXACT or ALL[name].swallowing:
            want, have = squeezed(want), squeezed(have)
        assert have == want, f"{name} {kind} {shape}"
    assert not left, f"{name} {kind} {shape}: turns {left} are not trained"
    return "exact"


@pytest.mark.parametrize("name", ALL)
def test_each_mask_is_exact_or_refused(name: str) -> None:
    counts: Counter[str] = Counter()
    for kind in KINDS:
        for shape in shapes():
            counts[outcome(name, kind, shape)] += 1
    print(name, dict(counts))
