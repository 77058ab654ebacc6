"""Tiny tokenizers of every kind that chat models have, trained on a few lines."""

from __future__ import annotations

from typing import Any

from chat_families import Family
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

LINES = (
    "The first answer, which is: 2+2=4.\n\n  And more of it!",
    "question one, question two and then a third? ",
    "assistant user system tool model <think> thoughts </think>\n\n",
    'Temperature in Oslo {"name": "get_temp", "arguments": {"city": "Oslo"}}',
    "Größe, café, naïve. ",
)
BYTES = [f"<0x{number:02X}>" for number in range(256)]
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SENTENCE_DECODER = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]

KINDS = ("bytes", "bytes-trimmed", "llama3", "qwen", "metaspace-always", "metaspace-first", "prepend", "gemma")
EXACT = ("bytes", "llama3", "gemma")
"""Kinds that neither add blanks nor alter accents."""


def tokenizer_of(family: Family, kind: str) -> Any:
    core = (
        _sentence_pieces(kind) if kind in ("metaspace-always", "metaspace-first", "prepend", "gemma") else _bytes(kind)
    )
    names = dict.fromkeys((*family.specials, family.bos, family.eos))
    core.add_special_tokens(
        [AddedToken(name, special=True, normalized=False, rstrip=name in family.swallowing) for name in names]
    )
    made: Any = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=family.bos, eos_token=family.eos)
    made.chat_template = family.template
    return made


def _bytes(kind: str) -> Tokenizer:
    core = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
    if kind == "llama3":
        words = pre_tokenizers.Split(Regex(WORDS), "isolated")
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        core.pre_tokenizer = pre_tokenizers.Sequence([words, plain])
    else:
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=kind == "bytes-trimmed")
    if kind == "qwen":
        core.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False))
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.ByteLevel(trim_offsets=kind in ("bytes-trimmed", "llama3"))
    return core


def _sentence_pieces(kind: str) -> Tokenizer:
    core: Tokenizer
    if kind.startswith("metaspace"):
        # Pieces of single characters and a few words; all else falls back to bytes.
        pieces = [("<unk>", 0.0), *((text, -20.0) for text in BYTES), ("▁", -3.0)]
        pieces += [(text, -4.0) for text in ("▁The", "▁first", "▁answer", "▁question", "▁is", "user", "▁▁")]
        pieces += [(letter, -8.0) for letter in "abcdefghijklmnopqrstuvwxyzT.,:?!"]
        core = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
        scheme = kind.removeprefix("metaspace-")
        core.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=scheme == "always")
    else:
        letters = "▁abcdefghijklmnopqrstuvwxyzT.,:?!"
        merges = [("▁", "f"), ("▁", "T"), ("▁T", "h"), ("▁", "▁"), ("i", "s")]
        texts = ["<unk>", *BYTES, *letters, *(one + other for one, other in merges)]
        vocab = {text: number for number, text in enumerate(texts)}
        core = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        spaces: Any = normalizers.Replace(" ", "▁")
        core.normalizer = spaces if kind == "gemma" else normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    core.decoder = decoders.Sequence(SENTENCE_DECODER[: 3 if kind == "gemma" else 4])
    return core
