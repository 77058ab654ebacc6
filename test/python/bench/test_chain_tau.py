"""Tau from one forward pass equals the tau of real chain decoding, for a draft that is right now and then."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from decoding_rig import AUX_LAYERS, HIDDEN, VOCAB, Rig, half_vocabulary, prompts
from draftbridge.decoding.chain_decoder import ChainDecoder
from draftbridge.distributed.share_draft import share_draft
from draftbridge.distributed.world import World
from draftbridge.drafts.eagle3.eagle3_decoder import Eagle3Decoder
from draftbridge.drafts.eagle3.frozen import Frozen
from draftbridge.drafts.eagle3.fused.buffers import Buffers
from draftbridge.drafts.eagle3.kernels import torch_rows
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.drafts.vocabulary import Vocabulary
from draftbridge.golden.eagle3_session import eagle3_session, feature_layout, train_settings
from draftbridge.settings.train_settings import OptimizerSettings
from draftbridge.training.train_session import MicroStep
from small_case import ttt_settings

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts" / "bench"))
from chain_tau import Answer, count_passes, right_guesses

STEPS, NEW = 7, 30


@pytest.mark.parametrize("switched", [False, True])
def test_equals_real_chain_decoding(switched: bool) -> None:
    torch.set_num_threads(1)
    rig = Rig(half_vocabulary(), fc_norm=switched, norm_output=switched)
    target = ChainDecoder(rig.target, rig.drafter, ())
    samples, given = [], prompts(6, seed=21)
    for prompt in given:
        with torch.inference_mode():
            # More than is decoded below, as stored answers are.
            ids = torch.tensor([*prompt, *target.decode(prompt, NEW + 9, 0).output_ids])
            states = rig.model(ids[None], output_hidden_states=True).hidden_states
        aux = torch.cat([states[layer + 1][0] for layer in AUX_LAYERS], -1).clone()
        mask = (torch.arange(ids.numel()) >= len(prompt)).long()
        samples.append(
            {"input_ids": ids, "loss_mask": mask, "hidden_state": states[-1][0].clone(), "aux_hidden_state": aux}
        )
    embedding = rig.target.embedding.detach()
    marks = torch.zeros(VOCAB, dtype=torch.bool)
    marks[rig.ids] = True
    vocabulary = Vocabulary(rig.ids - torch.arange(len(rig.ids)), marks)
    world = World(0, 1, torch.device("cpu"))
    frozen = Frozen(embedding, Teacher(rig.model.lm_head.weight.detach(), rig.ids), vocabulary, rig.draft.config)
    optimizer = OptimizerSettings(3e-3, (0.9, 0.999), 0.0, 0.5, 0.0, "constant")
    settings = train_settings(ttt_settings(steps=STEPS), optimizer)
    session = eagle3_session(world, share_draft(rig.draft, world, "replicate", False), frozen, settings, 60)
    batch = feature_layout(HIDDEN).collate(samples[:4], 64)
    for _ in range(60):
        session.step(batch, MicroStep(batch.positions, 1, True, False))
    draft = session.draft.run_no_grad(lambda whole: whole)
    answers = [
        Answer(sample["input_ids"], len(prompt), sample["aux_hidden_state"])
        for sample, prompt in zip(samples, given, strict=True)
    ]
    right = right_guesses(draft, embedding, rig.ids, answers, STEPS, torch_rows, Buffers(torch.device("cpu")))
    decoder = ChainDecoder(rig.target, Eagle3Decoder(draft, vocabulary.d2t, embedding), ())
    agreed = set()
    for steps in (1, 3, STEPS):
        for mine, answer, prompt in zip(right, answers, given, strict=True):
            with torch.inference_mode():
                real = decoder.decode(prompt, NEW, steps)
            assert count_passes(mine, answer, steps, NEW) == (real.tokens, real.passes)
            agreed.add(real.passes)
    assert len(agreed) > 4, "some drafts were right, and some were not"
