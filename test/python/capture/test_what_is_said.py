"""Nothing that an assistant says vanishes, and no token is trained that it did not say."""

from __future__ import annotations

import re
from typing import Any

import pytest
from chat_families import CHATML, FAMILIES, Family
from chat_families_more import MORE_FAMILIES
from chat_tokenizers import tokenizer_of
from draftbridge.bridge.errors import BridgeError
from draftbridge.capture import conversation_mask, token_spans, turn_spans
from draftbridge.capture.conversation_mask import EncodedSample, encode, mask_rule_of
from draftbridge.capture.mask_refusals import SENTENCES

Message = dict[str, Any]
IM = FAMILIES["chatml"]
MARKED = CHATML.replace(
    "+ m.content + '<|im_end|>\n' }}",
    "}}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}"
    "{% endif %}{{ '<|im_end|>\n' }}",
)


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def said(content: Any = None, **more: Any) -> Message:
    return {"role": "assistant", **({} if content is None else {"content": content}), **more}


def call(name: str, arguments: Any) -> Message:
    return {"id": "call12345", "type": "function", "function": {"name": name, "arguments": arguments}}


def made(template: str | Family, kind: str = "bytes") -> Any:
    family = template if isinstance(template, Family) else Family(template, "", IM.specials, IM.bos, IM.eos)
    return tokenizer_of(family, kind)


def trained(tokenizer: Any, sample: EncodedSample) -> str:
    ids = [token for token, flag in zip(sample.ids, sample.mask, strict=True) if flag]
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def texts(tokenizer: Any, messages: list[Message], **more: Any) -> list[tuple[int | None, str]]:
    samples = encode(tokenizer, {"id": "c", "messages": messages}, **more)
    return [(sample.turn, trained(tokenizer, sample)) for sample in samples]


def reason(tokenizer: Any, messages: list[Message], **more: Any) -> str:
    with pytest.raises(BridgeError) as caught:
        encode(tokenizer, {"id": "c", "messages": messages, **more})
    assert caught.value.code == "FEATURE_INVALID"
    what = str(caught.value).splitlines()[0]
    return next(name for name, (sentence, _) in SENTENCES.items() if sentence == what)


@pytest.mark.parametrize("kind", ["bytes", "bytes-trimmed", "llama3", "gemma", "metaspace-first"])
@pytest.mark.parametrize("answer", ["Hello ", " Hello", "\n\nHello\n", "  ", "Hi"])
def test_marked_answers_keep_their_blanks_and_no_more(kind: str, answer: str) -> None:
    tokenizer = made(MARKED, kind)
    assert mask_rule_of(tokenizer) == "markers"
    found = encode(tokenizer, {"id": "c", "messages": [user("a"), said(answer), user("user words"), said("bye")]})
    plain = answer if answer.strip() else ""
    assert trained(tokenizer, found[0]).strip(" ") == (plain + "bye").strip(" ")
    assert "user" not in trained(tokenizer, found[0])


def test_markers_in_a_macro_are_followed() -> None:
    inside = "{% macro turn(m) %}<{% generation %}{{ m.content }}{% endgeneration %}>{% endmacro %}"
    tokenizer = made(
        inside
        + "{% for m in messages %}{{ m.role + ': ' }}{{ turn(m) if m.role == 'assistant' else m.content }}{% endfor %}"
    )
    assert texts(tokenizer, [user("a"), said("one"), user("b"), said("two")]) == [(None, "onetwo")]


def test_what_stands_outside_the_markers_is_refused() -> None:
    calls = MARKED.replace("{% endgeneration %}", "{% endgeneration %}{{ m.tool_calls | tojson if m.tool_calls }}")
    temp = said("b", tool_calls=[call("get_temp", {"city": "Oslo"})])
    assert reason(made(calls), [user("a"), temp]) == "tool-call-dropped"
    inside = MARKED.replace("{% endgeneration %}", "{{ m.tool_calls | tojson if m.tool_calls }}{% endgeneration %}")
    assert "Oslo" in texts(made(inside), [user("a"), temp])[0][1]
    aside = MARKED.replace("{% generation %}", "{{ m.reasoning_content or '' }}{% generation %}")
    assert reason(made(aside), [user("a"), said("b", reasoning_content="aside")]) == "reasoning-dropped"
    assert texts(made(aside), [user("a"), said("b")]) == [(None, "b")]


def test_marked_turns_that_lose_their_reasoning_are_samples_of_their_own() -> None:
    template = MARKED.replace(
        "{% generation %}{{ m.content }}",
        "{% generation %}{{ (m.reasoning_content + '|' if m.reasoning_content and loop.last else '') + m.content }}",
    )
    talk = [user("a"), said("one", reasoning_content="why"), user("b"), said("two", reasoning_content="how")]
    assert texts(made(template), talk) == [(1, "why|one"), (3, "how|two")]
    assert texts(made(template), talk, turns="as-rendered") == [(None, "onehow|two")]


def test_qwen3_trains_each_answer_as_it_was_generated() -> None:
    tokenizer = made(FAMILIES["qwen3"])
    talk = [user("one?"), said("first"), user("two?"), said("second", reasoning_content="hm")]
    assert texts(tokenizer, talk) == [
        (1, "first<|im_end|>\n"),
        (3, "<think>\nhm\n</think>\n\nsecond<|im_end|>\n"),
    ]
    assert texts(tokenizer, talk, turns="last") == [(3, "<think>\nhm\n</think>\n\nsecond<|im_end|>\n")]
    assert texts(tokenizer, talk, turns="as-rendered") == [
        (None, "first<|im_end|>\n<think>\nhm\n</think>\n\nsecond<|im_end|>\n")
    ]


def test_turns_that_one_rendering_keeps_are_one_sample() -> None:
    # Two queries with a tool step each; each query's own steps keep their reasoning until the next query comes.
    tokenizer, step = made(FAMILIES["qwen3"]), {"role": "tool", "content": "7"}
    thought = {"reasoning_content": "hm"}
    asked = [said("", tool_calls=[call("t", {"a": 1})], **thought), step, said("so", **thought)]
    found = encode(tokenizer, {"id": "c", "messages": [user("q"), *asked, user("r"), *asked]})
    assert [sample.turn for sample in found] == [3, 7]
    assert [trained(tokenizer, sample).count("<think>") for sample in found] == [2, 2]


def test_thoughts_follow_the_prompt_that_opens_them() -> None:
    tokenizer = made(FAMILIES["deepseek-r1"])
    assert texts(tokenizer, [user("q"), said("the answer")]) == [(None, "the answer</s>")]
    spoken = [user("q"), said("<think>\nwhy\n</think>\n\nthe answer")]
    assert texts(tokenizer, spoken) == [(1, "why\n</think>\n\nthe answer</s>")]
    assert reason(tokenizer, [user("q"), said("the answer", reasoning_content="why")]) == "reasoning-dropped"


def test_an_answer_of_no_words_is_not_trained() -> None:
    tokenizer = made(IM)
    assert texts(tokenizer, [user("a"), said("")]) == [(None, "")]
    assert texts(tokenizer, [user("a"), said(" \n"), user("b"), said("yes")]) == [(None, "yes<|im_end|>\n")]
    assert texts(tokenizer, [user("a")]) == [(None, "")]


@pytest.mark.parametrize("arguments", ['{"city": "Oslo"}', {"city": "Oslo"}])
@pytest.mark.parametrize("name", ["qwen2.5", "qwen3", "llama3", "mistral", "deepseek-v3", "granite", "glm", "gpt-oss"])
def test_a_tool_call_without_content_is_trained(name: str, arguments: Any) -> None:
    tokenizer = made((FAMILIES | MORE_FAMILIES)[name])
    [(_, text)] = texts(
        tokenizer, [user("How warm?"), said(tool_calls=[call("get_temp", arguments)])], today="2026-02-03"
    )
    assert "get_temp" in text and "Oslo" in text and "warm" not in text
    assert '\\"city' not in text


def test_what_the_template_drops_is_refused() -> None:
    temp = call("get_temp", {"city": "Oslo"})
    tokenizer = made(IM)
    assert reason(tokenizer, [user("a"), said("get_temp in Oslo", tool_calls=[temp])]) == "tool-call-dropped"
    assert (
        reason(tokenizer, [user("a"), said("b", function_call={"name": "f", "arguments": "{}"})]) == "tool-call-dropped"
    )
    assert reason(tokenizer, [user("a"), said("b", reasoning_content="why")]) == "reasoning-dropped"
    assert reason(tokenizer, [user("a"), said("", refusal="I will not")]) == "words-dropped"
    assert reason(made(CHATML.replace("m.content", "m.content[:3]")), [user("a"), said("longer")]) == "words-dropped"
    assert reason(tokenizer, [user("a"), said("b")], tools=[temp]) == "tools-dropped"
    phi = made(MORE_FAMILIES["phi3"])
    assert reason(phi, [user("a"), {"role": "tool", "content": "7 degrees"}, said("b")]) == "tool-answer-dropped"
    only_one = FAMILIES["qwen3"].template.replace("in m.tool_calls or []", "in (m.tool_calls or [])[:1]")
    assert reason(made(only_one), [user("a"), said("", tool_calls=[temp, call("other", {})])]) == "tool-call-dropped"


def test_a_header_without_a_generation_prompt_is_not_trained() -> None:
    bare = CHATML.partition("{% if add_generation_prompt")[0]
    assert texts(made(bare), [user("a"), said("b"), user("c"), said("d")]) == [(None, "b<|im_end|>\nd<|im_end|>\n")]


def test_a_header_behind_other_turns_than_the_users_is_not_trained() -> None:
    sparing = CHATML.replace(
        "{% if add_generation_prompt", "{% if messages[-1].role == 'user' and add_generation_prompt"
    )
    talk = [{"role": "system", "content": "s"}, said("b"), said("c"), user("a"), said("d")]
    assert texts(made(sparing), talk) == [(None, "b<|im_end|>\nc<|im_end|>\nd<|im_end|>\n")]


def test_a_template_that_reads_parts_only_gets_parts() -> None:
    parts = CHATML.replace("m.content", "(m.content | map(attribute='text') | join(''))")
    assert texts(made(parts), [user("a"), said("bcd")]) == [(None, "bcd<|im_end|>\n")]


def test_a_token_that_spans_header_and_answer_is_two() -> None:
    # "\n" ends the header and begins the answer; "\n\n" is one token to this tokenizer.
    tokenizer = made(IM, "llama3")
    together = tokenizer("\n\n", add_special_tokens=False)["input_ids"]
    assert len(together) == 1
    assert texts(tokenizer, [user("a"), said("\nHello")]) == [(None, "\nHello<|im_end|>\n")]


def test_lone_surrogates_are_refused() -> None:
    assert reason(made(IM), [user("a"), said("b\ud800")]) == "untokenized"


def test_the_date_is_the_given_one() -> None:
    tokenizer = made(FAMILIES["llama3"])
    day = encode(tokenizer, {"id": "c", "messages": [user("a"), said("b")]}, today="2024-12-31")[0]
    assert "Today Date: 31 Dec 2024" in tokenizer.decode(day.ids)


def test_several_templates_are_chosen_by_tools() -> None:
    tokenizer = made(IM)
    tokenizer.chat_template = {"default": CHATML, "tool_use": FAMILIES["qwen2.5"].template}
    case = {"id": "c", "messages": [user("a"), said("b")]}
    assert "<tools>" not in tokenizer.decode(encode(tokenizer, case)[0].ids)
    assert "<tools>" in tokenizer.decode(encode(tokenizer, {**case, "tools": [call("f", {})]})[0].ids)


@pytest.mark.parametrize("shift", [-1, 1])
def test_the_proof_catches_a_rule_that_is_off_by_one_token(monkeypatch: pytest.MonkeyPatch, shift: int) -> None:
    right = token_spans.tokens_of

    def off(offsets: Any, spans: Any) -> list[range]:
        return [range(part.start + shift, part.stop) for part in right(offsets, spans)]

    monkeypatch.setattr(conversation_mask, "tokens_of", off)
    assert reason(made(IM), [user("a"), said("hello")]) == "proof-failed"


def test_the_proof_catches_a_template_rule_that_finds_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    right = conversation_mask.turn_by_prompt

    def broken(chat: Any, index: int) -> turn_spans.Turn:
        turn = right(chat, index)
        # The span of what the user says in place of the answer's.
        begin = turn.text.find("user words")
        return turn_spans.Turn(index, turn.text, ((begin, begin + 10),), turn.replies)

    monkeypatch.setattr(conversation_mask, "turn_by_prompt", broken)
    assert reason(made(IM), [user("user words"), said("hello")]) == "proof-failed"


def test_thoughts_under_two_names_are_said_once() -> None:
    thoughts = "Let me think of it."
    message = said("Four.", reasoning_content=thoughts, thinking=thoughts)
    template = CHATML.replace(
        "+ m.content + '<|im_end|>\n' }}",
        "}}{% if m.reasoning_content %}{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}"
        "{{ m.content + '<|im_end|>\n' }}",
    )
    assert template != CHATML
    [sample] = encode(made(template), {"id": "c", "messages": [user("2 + 2?"), message]})
    assert sum(sample.mask) > 0
    with pytest.raises(BridgeError, match="reasoning"):
        encode(made(CHATML), {"id": "c", "messages": [user("2 + 2?"), message]})


@pytest.mark.parametrize(
    "template",
    [
        # Around what the user says.
        CHATML.replace(
            "+ m.content + '<|im_end|>\n' }}",
            "}}{% if m.role == 'user' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}"
            "{% endif %}{{ '<|im_end|>\n' }}",
        ),
        # Around each turn, whoever speaks.
        CHATML.replace("+ m.content + '<|im_end|>\n' }}", "}}{% generation %}{{ m.content }}{% endgeneration %}"),
    ],
)
def test_markers_around_what_others_say_are_refused(template: str) -> None:
    talk = [user("say yes or no"), said("yes")]
    if "{% if m.role == 'user'" in template:
        with pytest.raises(BridgeError, match=re.escape(SENTENCES["markers-not-followed"][0])):
            encode(made(template), {"id": "c", "messages": talk})
        return
    # The last of the marked parts is the answer.
    [sample] = encode(made(template), {"id": "c", "messages": talk})
    assert sum(sample.mask) > 0
