"""Every template family, with every kind of tokenizer: each mask is exact, or the sample is refused with its reason."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import pytest
from chat_families import FAMILIES
from chat_families_more import MORE_FAMILIES
from chat_tokenizers import EXACT, KINDS, tokenizer_of
from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.conversation_mask import EncodedSample, Turns, encode
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


# Why a family's template cannot take a system turn, tools, or reasoning in its own field. The first one counts.
REFUSED: dict[str, dict[str, str]] = {
    "chatml": {"tools": "tools-dropped", "reasoning": "reasoning-dropped"},
    "smollm2": {"tools": "tools-dropped", "reasoning": "reasoning-dropped"},
    "qwen2.5": {"reasoning": "reasoning-dropped"},
    "llama3": {"reasoning": "reasoning-dropped"},
    "deepseek-v3": {"tools": "tools-dropped", "reasoning": "reasoning-dropped"},
    "deepseek-r1": {"tools": "tools-dropped", "reasoning": "reasoning-dropped"},
    "mistral": {"reasoning": "reasoning-dropped"},
    "mixtral": {"tools": "unrendered", "reasoning": "reasoning-dropped"},
    "gemma2": {"system": "unrendered", "tools": "unrendered", "reasoning": "reasoning-dropped"},
    "gemma3": {"tools": "unrendered", "reasoning": "reasoning-dropped"},
    "phi3": {"tools": "tool-answer-dropped", "reasoning": "reasoning-dropped"},
    "phi4": {"tools": "tools-dropped", "reasoning": "reasoning-dropped"},
    "granite": {"reasoning": "reasoning-dropped"},
    "command-r": {"tools": "tool-answer-dropped", "reasoning": "reasoning-dropped"},
    "smollm3": {"reasoning": "reasoning-dropped"},
}


def expected(name: str, shape: Shape, turns: Turns) -> str:
    has = {
        "system": shape.system,
        "tools": shape.tools,
        "reasoning": shape.thinking == "field" or (shape.thinking == "mixed" and shape.rounds > 1),
    }
    for part, reason in REFUSED.get(name, {}).items():
        if has[part]:
            return reason
    # Its template cuts the thoughts out of a content; the engine's own text has them, the rendering does not.
    cut = name == "deepseek-r1" and turns == "as-rendered" and shape.thinking == "content"
    return "reasoning-dropped" if cut else "exact"


def outcome(name: str, kind: str, shape: Shape, turns: Turns) -> str:
    """`exact` or the reason of a refusal. Fails for a mask that is not what the oracle finds."""
    made, case = tokenizer(name, kind), talk(name, shape)
    try:
        samples = encode(made, case, turns=turns, today=TODAY)
    except BridgeError as exc:
        return REASONS[str(exc).splitlines()[0]]
    oracle = Oracle(made, ALL[name], name, case)
    left = oracle.turns if turns != "last" else oracle.turns[-1:]
    for sample in samples:
        have = runs(made, sample)
        last = left[-1] if sample.turn is None else sample.turn
        # Which turns: those of this sample's count that are left, up to its own.
        earlier = [turn for turn in left if turn < last]
        trained = [*earlier[: sum(flag for _, flag in have) - 1], last]
        left = [turn for turn in left if turn not in trained]
        want = oracle.parts(sample.turn, trained)
        if kind not in EXACT or ALL[name].swallowing:
            want, have = squeezed(want), squeezed(have)
        assert have == want, f"{name} {kind} {shape}"
    assert not left, f"{name} {kind} {shape}: turns {left} are not trained"
    return "exact"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("turns", "kinds"), [("all", KINDS), ("last", ("llama3", "prepend")), ("as-rendered", ("llama3", "prepend"))]
)
def test_each_mask_is_exact_or_refused_with_its_reason(name: str, turns: Turns, kinds: tuple[str, ...]) -> None:
    counts: Counter[str] = Counter()
    for kind in kinds:
        for shape in shapes():
            found = outcome(name, kind, shape, turns)
            assert found == expected(name, shape, turns), f"{name} {kind} {shape}"
            counts[found] += 1
    print(name, turns, dict(counts))
    assert counts["exact"] > 0


def test_every_rewriting_template_gives_a_sample_for_each_answer() -> None:
    shape = Shape(3, False, False, "field")
    several = {name for name in ALL if len(_samples(name, shape)) == 3}
    assert several == {"qwen3", "qwen3-thinking", "glm", "gpt-oss"}
    assert len(_samples("mistral", Shape(3, True, False, "none"))) == 3


def _samples(name: str, shape: Shape) -> list[EncodedSample]:
    try:
        return encode(tokenizer(name, "bytes"), talk(name, shape), today=TODAY)
    except BridgeError:
        return []
