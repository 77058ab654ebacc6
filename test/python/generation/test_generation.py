"""What the target is made to write."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from draftbridge.bridge.errors import BridgeError
from draftbridge.generation.conversation import context_of, with_answers
from draftbridge.generation.seeded_choice import SeededChoice, draw


def test_a_token_is_drawn_as_often_as_it_is_likely() -> None:
    logits = torch.tensor([0.5, 2.0, -1.0, 1.0])
    numbers = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    drawn = draw(logits.expand(20_000, 4), numbers, 1.0)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    torch.testing.assert_close(shares, torch.softmax(logits, 0), atol=1e-4, rtol=0)


def test_top_p_keeps_as_many_of_the_likeliest_as_reach_it() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    numbers = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    for top_p, kept in ((0.4, 1), (0.5, 1), (0.7, 2), (0.9, 3), (1.0, 4)):
        assert int(draw(logits.expand(1000, 4), numbers, top_p).max()) == kept - 1


@pytest.mark.parametrize("number", [0.0, 1 - 2**-53])
def test_the_ends_of_the_numbers_are_tokens(number: float) -> None:
    logits = torch.randn(1, 50_000, generator=torch.Generator().manual_seed(1))
    drawn = draw(logits, torch.tensor([number], dtype=torch.float64), 0.9)
    assert 0 <= int(drawn[0]) < 50_000
    if number == 0.0:
        assert int(drawn[0]) == int(logits.argmax())


def test_a_row_draws_the_same_beside_others_and_at_each_place() -> None:
    scores = torch.randn(3, 100, generator=torch.Generator().manual_seed(2))
    prompts = torch.zeros(3, 5, dtype=torch.int64)
    together = SeededChoice([7, 8, 9], 4, 1.0, 1.0, prompt=5)(prompts, scores).argmax(-1)
    alone = [
        SeededChoice([seed], 4, 1.0, 1.0, prompt=5)(prompts[:1], scores[[at]]).argmax(-1)
        for at, seed in enumerate([7, 8, 9])
    ]
    assert together.tolist() == torch.cat(alone).tolist()


def message(role: str, content: str = "x", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def test_each_answer_is_written_behind_the_answers_written_before_it() -> None:
    talk = {
        "messages": [message("system"), message("user"), message("assistant", "old"), message("user")],
        "tools": [{}],
    }
    context, left = context_of(talk, [])
    assert ([each["role"] for each in context["messages"]], left) == (["system", "user"], 1)
    new = message("assistant", "new")
    context, left = context_of(talk, [new])
    assert (context["messages"][2], left, context["tools"]) == (new, 0, [{}])
    done = with_answers(talk, [new, message("assistant", "last")])
    assert [each["content"] for each in done["messages"]] == ["x", "x", "new", "x", "last"]


@pytest.mark.parametrize(
    "messages",
    [
        [message("user"), message("assistant", tool_calls=[{}]), message("tool")],
        [message("assistant"), message("user")],
        [message("user"), message("assistant"), message("assistant")],
        [message("user"), message("assistant"), message("system")],
    ],
)
def test_what_hangs_on_the_old_answers_is_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(BridgeError, match="cannot write this conversation anew"):
        context_of({"messages": messages}, [])


def test_tokens_without_messages_are_refused() -> None:
    with pytest.raises(BridgeError, match="cannot write"):
        context_of({"input_ids": [1]}, [])
