"""A golden vector: one small batch with everything a correct trainer must make of it. See test/golden/README.md."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from draftbridge.distributed.share_draft import share_draft
from draftbridge.distributed.world import World
from draftbridge.drafts.draft_files import read_tensors
from draftbridge.drafts.eagle3.draft import Draft, DraftConfig
from draftbridge.drafts.eagle3.frozen import Frozen
from draftbridge.drafts.eagle3.teacher import Teacher
from draftbridge.drafts.vocabulary import Vocabulary
from draftbridge.golden.eagle3_session import eagle3_session, feature_layout, train_settings
from draftbridge.settings.train_settings import OptimizerSettings, TttSettings
from draftbridge.training.batch import Batch
from draftbridge.training.train_session import MicroStep, TrainSession

_LOSSES: dict[str | None, Any] = {None: "ce", "alpha": "lk-alpha", "lambda": "lk-lambda"}


@dataclass(frozen=True)
class GoldenCase:
    """One file. `tensors` are those of the file, `train` its training settings."""

    name: str
    tensors: dict[str, Tensor]
    raw_config: dict[str, Any]
    train: dict[str, Any]
    lengths: tuple[int, ...]

    @classmethod
    def read(cls, file: Path) -> GoldenCase:
        tensors, about = read_tensors(file)
        config, train, lengths = (json.loads(about[key]) for key in ("config", "train", "batch"))
        return cls(file.name, tensors, config, train, tuple(lengths))

    @property
    def batch(self) -> Batch:
        names = {"input_ids": True, "loss_mask": True, "hidden_state": False, "aux_hidden_state": False}
        samples = [
            {
                n: self.tensors[f"sample{i}.{n}"] if flat else self.tensors[f"sample{i}.{n}"][0]
                for n, flat in names.items()
            }
            for i in range(len(self.lengths))
        ]
        layout = feature_layout(DraftConfig.from_dict(self.raw_config).hidden_size)
        return layout.collate(samples, max(self.lengths))

    @property
    def micro(self) -> MicroStep:
        """The whole batch as one optimiser step."""
        return MicroStep(self.batch.positions, 1, True, False)

    def session(self, world: World, kind: str, dtype: torch.dtype = torch.float32, fused: bool = False) -> TrainSession:
        """A session that starts where the reference started."""
        config = DraftConfig.from_dict(self.raw_config)
        draft = Draft(config).to(dtype)
        draft.load_state_dict({name: self.tensors[f"draft.{name}"] for name, _ in draft.named_parameters()})
        vocabulary = Vocabulary(self.tensors["draft.d2t"], self.tensors["draft.t2d"]).check(self.name)
        teacher = Teacher(self.tensors["target.lm_head.weight"].to(world.device, dtype), vocabulary.ids)
        embedding = self.tensors["draft.embed_tokens.weight"].to(world.device, dtype)
        frozen = Frozen(embedding, teacher, vocabulary, config)
        shared = share_draft(draft, world, kind, False)
        settings = train_settings(self._ttt(), self._optimizer())
        return eagle3_session(world, shared, frozen, settings, self.train["total_steps"], fused, self.raw_config)

    def _ttt(self) -> TttSettings:
        train = self.train
        return TttSettings(
            steps=train["ttt_length"],
            decay=train["ploss_decay"],
            loss=_LOSSES[train["lk_loss_type"]],
            kl_scale=train["kl_scale"],
            kl_decay=train["kl_decay"],
            reduction=train["loss_reduction"],
            mask_offset=train["loss_mask_offset"],
        )

    def _optimizer(self) -> OptimizerSettings:
        train = self.train
        return OptimizerSettings(
            lr=train["lr"],
            betas=(train["betas"][0], train["betas"][1]),
            weight_decay=train["weight_decay"],
            clip=train["max_grad_norm"],
            warmup_ratio=train["warmup_ratio"],
            schedule=train["lr_scheduler"],
        )
