"""A tiny target with a random draft, and the definition of chain decoding to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from draftbridge.decoding.chain_decoder import ChainDecoder, Decoded
from draftbridge.decoding.target_decoder import TargetDecoder
from draftbridge.drafts.eagle3.draft import Draft, DraftConfig, initial_draft
from draftbridge.drafts.eagle3.eagle3 import AUX
from draftbridge.drafts.eagle3.eagle3_decoder import Eagle3Decoder
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

HIDDEN, LAYERS, VOCAB = 32, 6, 64
AUX_LAYERS = (1, 2, 2)
CONFIG = DraftConfig(HIDDEN, 48, 4, 2, 8, VOCAB, VOCAB, 1e-6, 10000.0, 256)


def tiny_target(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=48,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCAB,
        max_position_embeddings=256,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


def random_draft(ids: torch.Tensor, **switches: bool) -> Draft:
    """Weights ten times the usual, so that every part of it decides over its guesses."""
    draft = initial_draft(DraftConfig(**{**vars(CONFIG), "draft_vocab_size": len(ids), **switches}), seed=1).eval()
    with torch.no_grad():
        for weight in draft.parameters():
            weight.mul_(10 if weight.dim() == 2 else 1)
    return draft


def helped(guesses: list[int], truth: Sequence[int], turn: int) -> list[int]:
    """A random draft is never right, so pass by pass 0, 1, 2 ... of its first guesses are made right."""
    right = turn % (len(guesses) + 1)
    return [*truth[:right], *guesses[right:]]


class HelpedDrafter(Eagle3Decoder):
    """Keeps its own guesses in `own`, pass by pass, and proposes helped ones. `truth`: prompt and output."""

    truth: Sequence[int] = ()
    own: list[list[int]]

    def propose(self, count: int) -> list[int]:
        guesses = super().propose(count)
        self.own.append(guesses)
        return helped(guesses, self.truth[self._length + 1 :], len(self.own) - 1)


class Rig:
    """A target, a draft over the tokens `ids`, and a decoder of both."""

    def __init__(self, ids: torch.Tensor | None = None, eos: Sequence[int] = (), **switches: bool) -> None:
        self.ids = torch.arange(VOCAB) if ids is None else ids
        self.model = tiny_target()
        self.draft = random_draft(self.ids, **switches)
        self.eos = tuple(eos)
        self.target = TargetDecoder(self.model, (AUX,), AUX_LAYERS)
        offsets = self.ids - torch.arange(len(self.ids))
        self.drafter = HelpedDrafter(self.draft, offsets, self.target.embedding)

    @torch.inference_mode()
    def decode(self, prompt: Sequence[int], new: int, steps: int) -> Decoded:
        plain = ChainDecoder(self.target, self.drafter, ()).decode(prompt, new, 0)
        self.drafter.truth, self.drafter.own = [*prompt, *plain.output_ids], []
        return ChainDecoder(self.target, self.drafter, self.eos).decode(prompt, new, steps)


@dataclass
class Expected:
    output_ids: list[int]
    passes: int
    accepted: list[int]
    proposed: list[int]
    own: list[list[int]]


class Oracle:
    """The definition, as slowly as it reads: no cache anywhere, everything again from the whole sequence."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    @torch.inference_mode()
    def decode(self, prompt: Sequence[int], new: int, steps: int) -> Expected:
        truth = list(prompt)
        while len(truth) < len(prompt) + new:
            truth.append(self.target_next(truth))
        known, done = len(prompt) + 1, Expected([], 0, [0] * steps, [0] * steps, [])
        while not self.over(truth[len(prompt) : known], new):
            done.own.append(self.guesses(truth[:known], min(steps, len(truth) - known - 1)))
            guesses = helped(done.own[-1], truth[known:], done.passes)
            done.passes += 1
            for place, guess in enumerate([*guesses, None]):
                known += 1
                if guess is not None:
                    done.proposed[place] += 1
                    done.accepted[place] += guess == truth[known - 1]
                if guess != truth[known - 1] or self.over(truth[len(prompt) : known], new):
                    break
        done.output_ids = truth[len(prompt) : known]
        return done

    def over(self, output: list[int], new: int) -> bool:
        return len(output) == new or output[-1] in self.rig.eos

    def target_next(self, sequence: Sequence[int]) -> int:
        return int(self.rig.model(torch.tensor([list(sequence)]), use_cache=False).logits[0, -1].argmax())

    def guesses(self, sequence: Sequence[int], count: int) -> list[int]:
        """Step k feeds back its own output at one position more, behind the rows of all true features."""
        draft, ids = self.rig.draft, torch.tensor([list(sequence)])
        states = self.rig.model(ids, use_cache=False, output_hidden_states=True).hidden_states
        aux = torch.cat([states[layer + 1] for layer in AUX_LAYERS], -1)
        hidden = draft.fuse(aux[:, :-1])
        tokens = list(sequence[1:])
        guesses: list[int] = []
        while len(guesses) < count:
            embeds = self.rig.model.model.embed_tokens(torch.tensor([tokens]))
            output = self.layer(embeds, hidden)[:, -1:]
            guesses.append(int(self.rig.ids[draft.logits(output).argmax()]))
            tokens.append(guesses[-1])
            hidden = torch.cat((hidden, output), 1)
        return guesses

    def layer(self, embeds: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        rows = hidden.shape[1]
        query, key, value = self.rig.draft.qkv(embeds, hidden, torch.arange(rows)[None])
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
        scores = query @ key.transpose(-1, -2) / CONFIG.head_dim**0.5
        scores = scores.masked_fill(torch.ones(rows, rows).triu(1).bool(), float("-inf"))
        attended = functional.softmax(scores, -1) @ value
        return self.rig.draft.finish(hidden, attended.transpose(1, 2).flatten(2))


def assert_as_defined(rig: Rig, prompt: Sequence[int], new: int, steps: int) -> Decoded:
    done = rig.decode(prompt, new, steps)
    assert Expected(done.output_ids, done.passes, done.accepted, done.proposed, rig.drafter.own) == Oracle(rig).decode(
        prompt, new, steps
    )
    return done


def prompts(count: int, seed: int = 3) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, VOCAB, (1 + 4 * n,), generator=generator).tolist() for n in range(count)]


def full_vocabulary() -> torch.Tensor:
    return torch.arange(VOCAB)


def half_vocabulary() -> torch.Tensor:
    return torch.randperm(VOCAB, generator=torch.Generator().manual_seed(5))[: VOCAB // 2].sort().values
