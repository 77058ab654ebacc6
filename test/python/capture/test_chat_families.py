"""Every family of templates, kind of conversation and tokenizer: the mask is exact, or the reason is named."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from chat_families import FAMILIES, Family
from draftbridge.bridge.errors import BridgeError
from draftbridge.capture.conversation_mask import EncodedSample, encode
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

_SIGNS = "bos eos im_start im_end start_header_id end_header_id eot_id User Assistant end start_of_role end_of_role"
SPECIALS = [f"<|{name}|>" for name in f"{_SIGNS} START END CHATBOT return start channel message".split()]
SPECIALS += ["<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<think>", "</think>", "<tool_call>", "[gMASK]"]


def _finished(tokenizer: Tokenizer) -> Any:
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|bos|>", eos_token="<|eos|>")


def byte_level(*, trim_offsets: bool) -> Any:
    """As GPT-2, Llama 3 and Qwen: bytes, with merges over a blank and over two newlines."""
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "a"), ("Ċ", "Ċ"), ("h", "e"), ("Ġ", "Ġ"), (":", "Ċ")]
    names = [*signs, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={name: at for at, name in enumerate(names)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    return _finished(tokenizer)


def metaspace() -> Any:
    """As Llama 2, Mistral and Gemma: pieces of words, blanks as a sign of their own, bytes for what has no piece."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *map(chr, range(33, 127)), "he", "▁a"]
    merges = [("h", "e"), ("▁", "a")]
    vocab = {piece: at for at, piece in enumerate(pieces)}
    model = models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _finished(tokenizer)


TOKENIZERS = {
    "byte level": byte_level(trim_offsets=False),
    "byte level, blanks left out of offsets": byte_level(trim_offsets=True),
    "metaspace": metaspace(),
}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def says(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def thinks(thought: str, text: str) -> dict[str, Any]:
    return says(text, reasoning_content=thought, thinking=thought)


CALL = {"type": "function", "function": {"name": "get_temp", "arguments": {"city": 'Oslo "C"', "days": 3}}}
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "one turn": [user("q 1"), says("the answer")],
    "two turns": [user("q 1"), says("first answer"), user("q 2"), says("second answer")],
    "system": [{"role": "system", "content": "be kind"}, user("q 1"), says("first"), user("q 2"), says("second")],
    "blanks": [user("q 1"), says(" a blank at both ends "), user(" q 2 "), says("\n\nnew lines: \n")],
    "other letters": [user("你好"), says("é 😀 你好"), user("q"), says("naïve")],
    "equal turns": [user("yes"), says("yes"), user("yes"), says("yes")],
    "assistant first": [says("Shall I go on? "), user("yes"), says("Then I go on.")],
    "thinking": [user("q 1"), thinks("hm, one", "first"), user("q 2"), thinks("hm, two", "second")],
    "mixed thinking": [user("q 1"), says("first"), user("q 2"), thinks("hm", "second")],
    "tools": [user("warm?"), says("", tool_calls=[CALL]), {"role": "tool", "content": "12"}, says("12 degrees")],
    "empty answers": [user("q"), says(""), user("q 2"), says("yes")],
    "the user has the last word": [user("q"), says("yes"), user("q 2")],
}


def wanted(family: Family, messages: list[dict[str, Any]]) -> list[str] | None:
    """Each answer as it must be trained; None where the conversation must be refused."""
    found: list[str] = []
    for message in messages:
        if message["role"] != "assistant" or not (message["content"] or message.get("tool_calls")):
            continue
        said = family.said(message)
        if said is None:
            return None
        found.append(family.lead + said + family.end)
    return found


def trained(tokenizer: Any, sample: EncodedSample) -> str:
    """By another way than the proof: token by token, with the bytes of each."""
    ids = [token for token, flag in zip(sample.ids, sample.mask, strict=True) if flag]
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


@pytest.mark.parametrize("kind", CONVERSATIONS)
@pytest.mark.parametrize("tokens", TOKENIZERS)
@pytest.mark.parametrize("name", FAMILIES)
def test_exactly_the_answers_are_trained_or_the_conversation_is_refused(name: str, tokens: str, kind: str) -> None:
    family, tokenizer, messages = FAMILIES[name], TOKENIZERS[tokens], CONVERSATIONS[kind]
    tokenizer.chat_template = family.template
    answers = wanted(family, messages)
    if kind in family.refuses or answers is None:
        with pytest.raises(BridgeError) as caught:
            encode(tokenizer, {"messages": messages}, today="2024-07-26")
        assert caught.value.code == "FEATURE_INVALID"
        return
    samples = encode(tokenizer, {"messages": messages}, today="2024-07-26")
    assert "".join(trained(tokenizer, sample) for sample in samples) == "".join(answers)
    assert len(samples) in {1, len(answers)}
    if kind == "system":
        assert all("be kind" in tokenizer.decode(sample.ids) for sample in samples)
    for sample in samples:
        text = tokenizer.decode(sample.ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert "2024" in text or "strftime" not in family.template


def test_a_wrong_mask_is_caught_by_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    from draftbridge.capture import token_mask

    right = token_mask.mask_of
    monkeypatch.setattr(token_mask, "mask_of", lambda offsets, spans: [0, *right(offsets, spans)[:-1]])
    tokenizer = TOKENIZERS["byte level"]
    tokenizer.chat_template = FAMILIES["chatml"].template
    with pytest.raises(BridgeError, match="the trained tokens do not say what the assistant said"):
        encode(tokenizer, {"messages": CONVERSATIONS["two turns"]})


def test_the_reasons_are_few_and_named() -> None:
    reasons: Counter[str] = Counter()
    for family in FAMILIES.values():
        tokenizer = TOKENIZERS["byte level"]
        tokenizer.chat_template = family.template
        for messages in CONVERSATIONS.values():
            try:
                encode(tokenizer, {"messages": messages})
                reasons["exact"] += 1
            except BridgeError as exc:
                reasons[str(exc).splitlines()[0]] += 1
    print(dict(reasons))
    assert set(reasons) == {
        "exact",
        "the chat template cannot render this conversation",
        "the chat template leaves out something that the assistant said",
    }
