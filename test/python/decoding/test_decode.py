"""Chain decoding gives the target's own greedy tokens. Tau is tokens per target pass, bonus token included."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from chain_oracle import ChainOracle, rms
from decoding_rig import (
    AUX_LAYERS,
    HIDDEN,
    VOCAB,
    Rig,
    assert_as_defined,
    full_vocabulary,
    half_vocabulary,
    prompts,
)
from draftbridge.decoding.chain_decoder import ChainDecoder, best_of, count_positions
from draftbridge.drafts.eagle3.eagle3_decoder import Eagle3Decoder
from small_case import ttt_settings


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("steps", [1, 3, 5, 7])
def test_drafting_never_changes_the_output(rig: Rig, steps: int) -> None:
    for prompt in prompts(3):
        plain = rig.decode(prompt, 40, 0)
        drafted = rig.decode(prompt, 40, steps)
        assert drafted.output_ids == plain.output_ids
        assert plain.tokens == plain.passes == 39
        assert all(drafted.accepted), "every length of agreement was met"


@pytest.mark.parametrize("ids", [full_vocabulary(), half_vocabulary()], ids=["whole", "half"])
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_guesses_ids_and_counts_are_those_of_a_decoder_without_caches(ids: torch.Tensor, steps: int) -> None:
    rig = Rig(ids)
    for prompt in prompts(2, seed=11):
        done = assert_as_defined(rig, prompt, 20, steps)
        assert done.tokens == len(done.output_ids) - 1
        own = {guess for guesses in rig.drafter.own for guess in guesses}
        assert len(own) > 3 and own <= set(ids.tolist())


@pytest.mark.parametrize("switches", [{"fc_norm": True}, {"norm_output": True}, {"fc_norm": True, "norm_output": True}])
def test_a_draft_with_switched_norms_guesses_what_its_unroll_computes(switches: dict[str, bool]) -> None:
    """Against the oracle of the training loss: it decodes, if the tokens that it is fed are the guesses."""
    rig = Rig(half_vocabulary(), **switches)
    with torch.no_grad():
        for weight in rig.draft.parameters():
            if weight.dim() == 1:
                weight.add_(torch.linspace(-0.4, 0.4, weight.numel()))
    for prompt in prompts(3, seed=7):
        done = assert_as_defined(rig, prompt, 12, 4)
        known, guesses = [*prompt, done.output_ids[0]], rig.drafter.own[0]
        with torch.inference_mode():
            states = rig.model(torch.tensor([known[:-1]]), output_hidden_states=True).hidden_states
            aux = torch.cat([states[layer + 1][0] for layer in AUX_LAYERS], -1)
            ttt = ttt_settings(steps=4)
            oracle = ChainOracle(rig.draft, rig.model.model.embed_tokens.weight, rig.model.lm_head.weight, rig.ids, ttt)
            sample = {"input_ids": torch.tensor([*known, *guesses]), "aux_hidden_state": aux}
            outputs = oracle.chain(sample, len(prompt) - 1)
            norm = rig.draft.norm.weight
            logits = [rig.draft.lm_head.weight @ rms(raw, norm, rig.draft.config.rms_norm_eps) for raw in outputs]
        assert guesses == [int(rig.ids[row.argmax()]) for row in logits]


@pytest.mark.parametrize("steps", [0, 1, 3, 7])
def test_an_end_token_ends_the_output_wherever_it_is_met(steps: int) -> None:
    whole = Rig().decode(prompts(3)[2], 16, 0).output_ids
    for eos in {whole[0], whole[1], whole[7], whole[-1]}:
        until = whole[: whole.index(eos) + 1]
        rig = Rig(eos=[eos])
        done = rig.decode(prompts(3)[2], 16, steps)
        assert done.output_ids == until
        assert done.tokens == len(until) - 1
        assert (done.passes == 0) == (len(until) == 1)
        if steps == 3:
            assert_as_defined(rig, prompts(3)[2], 16, steps)


@pytest.mark.parametrize("steps", [0, 1, 3, 7])
def test_the_output_is_cut_at_the_number_of_new_tokens(rig: Rig, steps: int) -> None:
    whole = rig.decode(prompts(2)[1], 10, 0).output_ids
    for new in range(1, 11):
        done = rig.decode(prompts(2)[1], new, steps)
        assert done.output_ids == whole[:new]
        assert done.tokens == new - 1


@pytest.mark.parametrize("steps", [1, 3, 5, 7])
def test_a_draft_that_is_always_right_gives_one_token_more_than_it_drafts(rig: Rig, steps: int) -> None:
    prompt = prompts(2)[1]
    new = 1 + 3 * (steps + 1)
    truth = rig.decode(prompt, new, 0).output_ids
    drafted = iter(truth[1:])

    class Perfect(Eagle3Decoder):
        def propose(self, count: int) -> list[int]:
            made = list(itertools.islice(drafted, count))
            next(drafted)
            return made

    perfect = Perfect(rig.draft, torch.zeros(VOCAB, dtype=torch.int64), rig.target.embedding)
    with torch.inference_mode():
        done = ChainDecoder(rig.target, perfect, ()).decode(prompt, new, steps)
    assert done.output_ids == truth
    assert done.tokens / done.passes == steps + 1
    assert done.accepted == done.proposed == [3] * steps


def test_one_pass_over_several_tokens_gives_the_logits_of_one_pass_each(rig: Rig) -> None:
    prompt = prompts(4)[3]
    with torch.inference_mode():
        rig.target.start(prompt[:5])
        together = rig.target.extend(prompt[5:9])
        features = rig.target.states(4)["aux_hidden_state"]
        rig.target.drop(4)
        apart = [rig.target.extend([token]) for token in prompt[5:9]]
    assert torch.allclose(together, torch.cat(apart), atol=1e-5)
    assert features.shape == (1, 4, 3 * HIDDEN)


def test_features_are_the_outputs_of_the_auxiliary_layers(rig: Rig) -> None:
    prompt = prompts(4)[3]
    with torch.inference_mode():
        rig.target.start(prompt)
        states = rig.model(torch.tensor([prompt]), output_hidden_states=True).hidden_states
        expected = torch.cat([states[layer + 1] for layer in AUX_LAYERS], -1)
        assert torch.allclose(rig.target.states(len(prompt))["aux_hidden_state"], expected, atol=1e-5)


def test_positions_behind_a_rejection_or_an_end_are_not_counted() -> None:
    proposed, accepted = [0] * 3, [0] * 3
    count_positions([5, 6, 7], [5, 9], proposed, accepted)
    assert (proposed, accepted) == ([1, 1, 0], [1, 0, 0])
    count_positions([5, 6, 7], [5, 6, 7, 8], proposed, accepted)
    assert (proposed, accepted) == ([2, 2, 1], [2, 1, 1])
    count_positions([5, 6, 7], [5], proposed, accepted)
    assert (proposed, accepted) == ([3, 2, 1], [3, 1, 1])
    assert best_of(torch.tensor([[0.0, 2.0], [3.0, 1.0]])) == [1, 0]
