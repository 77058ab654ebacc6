"""Medusa-like heads as a draft architecture that only tests know: importing this module registers it.

K heads read the output of one layer of the target at position t, and head k predicts the token at t + 2 + k: the target
itself has just chosen the token at t + 1. Full vocabulary, no embedding, no teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from draftbridge.distributed.shared_draft import SharedDraft
from draftbridge.distributed.world import World
from draftbridge.drafts.architecture import (
    BuildInputs,
    BuiltDraft,
    ConstantSpec,
    DraftArchitecture,
    LoadedDraft,
)
from draftbridge.drafts.draft_decoder import DraftDecoder
from draftbridge.drafts.draft_description import DraftDescription
from draftbridge.drafts.draft_trainer import DraftTrainer, LossScale, Plan, Rows
from draftbridge.drafts.loss_mask import effective_mask
from draftbridge.drafts.registry import register
from draftbridge.drafts.step_sums import StepSums
from draftbridge.target.layer_states import StateFeature
from torch import Tensor, nn
from torch.nn import functional

STATE = "layer_state"


@dataclass(frozen=True)
class MedusaConfig:
    hidden_size: int
    vocab_size: int
    num_heads: int


class Medusa(nn.Module):
    def __init__(self, config: MedusaConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = nn.ModuleList(
            nn.Linear(size, size, bias=False) for _ in range(config.num_heads)
        )
        self.out = nn.Linear(size, config.vocab_size, bias=False)

    def forward(self, work: Callable[[Medusa], Any]) -> Any:
        return work(self)

    def logits(self, states: Tensor, head: int) -> Tensor:
        """[n, H] -> [n, V]"""
        logits: Tensor = self.out(states + functional.silu(self.heads[head](states)))
        return logits


@dataclass(frozen=True)
class MedusaPlan:
    rows: tuple[Tensor, ...]  # for each head int64 [n]: positions that it is trained at
    targets: tuple[
        Tensor, ...
    ]  # for each head int64 [n]: where the token that it predicts lies
    mask_sums: tuple[int, ...]

    @property
    def wanted(self) -> Tensor:
        return torch.zeros(0, dtype=torch.int64)


class MedusaTrainer(DraftTrainer):
    uses_summary = False
    frozen_tensors = ()

    def __init__(
        self, world: World, description: DraftDescription, dtype: torch.dtype
    ) -> None:
        self.description, self.dtype, self._device = description, dtype, world.device
        self.draft_positions = description.config.num_heads

    def plan(self, loss_mask: Tensor, lengths: Sequence[int]) -> MedusaPlan:
        sizes = torch.tensor(lengths, dtype=torch.int64)
        ends = sizes.cumsum(0).repeat_interleave(sizes)
        mask, every = (
            effective_mask(loss_mask, lengths),
            torch.arange(loss_mask.numel()),
        )
        rows = []
        for head in range(self.draft_positions):
            target = every + 2 + head
            inside = target < ends
            rows.append(every[inside & mask[torch.where(inside, target, 0)]])
        targets = tuple(row + 2 + head for head, row in enumerate(rows))
        return MedusaPlan(tuple(rows), targets, tuple(row.numel() for row in rows))

    def to_device(self, plan: Plan) -> MedusaPlan:
        assert isinstance(plan, MedusaPlan)
        rows, targets = (
            tuple(t.to(self._device) for t in group)
            for group in (plan.rows, plan.targets)
        )
        return MedusaPlan(rows, targets, plan.mask_sums)

    def plan_tensors(self, plan: Plan) -> Sequence[Tensor]:
        assert isinstance(plan, MedusaPlan)
        return (*plan.rows, *plan.targets)

    def add_gradients(
        self, draft: SharedDraft, rows: Rows, scale: LossScale, boundary: bool
    ) -> tuple[Tensor, StepSums]:
        sums: StepSums = draft.run(lambda module: _sums(module, rows))
        shares = (
            self.losses(sums, scale.positions, sums.trained, sums.overlap)
            / scale.window
        )
        draft.backward(self.total(shares) * draft.scale, boundary)
        return shares.detach(), sums

    def evaluate(self, draft: SharedDraft, rows: Rows) -> StepSums:
        found: StepSums = draft.run_no_grad(lambda module: _sums(module, rows))
        return found

    def losses(
        self, sums: StepSums, positions: int, trained: Tensor, overlap: Tensor
    ) -> Tensor:
        return sums.cross_entropy / positions

    def total(self, losses: Tensor) -> Tensor:
        return losses.sum()

    def flops(self, plan: Plan, has_summary: bool) -> float:
        size, vocab = (
            self.description.config.hidden_size,
            self.description.config.vocab_size,
        )
        return float(6 * sum(plan.mask_sums) * size * (size + vocab))


def _sums(module: Medusa, rows: Rows) -> StepSums:
    plan = rows.plan
    assert isinstance(plan, MedusaPlan)
    states = rows.states[STATE]
    # A rank without a trained row still has a gradient for every parameter.
    zero = torch.stack([(weight * 0).sum() for weight in module.parameters()]).sum()
    columns = []
    for head, (row, target) in enumerate(zip(plan.rows, plan.targets, strict=True)):
        logits = module.logits(states[row], head)
        token = rows.ids[target]
        entropy = functional.cross_entropy(logits, token, reduction="none")
        hits = (logits.argmax(-1) == token).sum()
        # With the data's token as the target, the overlap of both distributions is the token's own probability.
        overlap = (-entropy).exp().sum()
        columns.append(
            (
                entropy.sum() + zero,
                overlap,
                -entropy.sum(),
                entropy.new_tensor(row.numel()),
                hits,
            )
        )
    return StepSums(*(torch.stack(column) for column in zip(*columns, strict=True)))


class MedusaDecoder(DraftDecoder):
    def __init__(self, module: Medusa) -> None:
        self._module = module

    def start(self, capacity: int) -> None:
        self._tip = torch.zeros(0)

    def commit(self, states: Mapping[str, Tensor], next_tokens: Sequence[int]) -> None:
        self._tip = states[STATE][0, -1:]

    def propose(self, count: int) -> list[int]:
        heads = range(min(count, len(self._module.heads)))
        return [int(self._module.logits(self._tip, head).argmax(-1)) for head in heads]


class MedusaArchitecture(DraftArchitecture):
    name = "medusa-for-tests"
    config_names = ("MedusaForTests",)
    states = (StateFeature(STATE, "aux"),)
    decoder_states = states

    def read_config(
        self, raw: Mapping[str, Any], file: str | None = None
    ) -> MedusaConfig:
        return MedusaConfig(raw["hidden_size"], raw["vocab_size"], raw["num_heads"])

    def config_json(
        self, config: MedusaConfig, raw: Mapping[str, Any], dtype: torch.dtype
    ) -> dict[str, Any]:
        return {
            **raw,
            **vars(config),
            "architectures": list(self.config_names),
            "dtype": str(dtype),
        }

    def module(self, config: MedusaConfig) -> Medusa:
        return Medusa(config)

    def constants(self, config: MedusaConfig) -> dict[str, ConstantSpec]:
        return {}

    def build(self, inputs: BuildInputs) -> BuiltDraft:
        config = self.read_config(inputs.raw_config)
        module = self.module(config)
        generator = torch.Generator().manual_seed(inputs.seed)
        with torch.no_grad():
            for _, weight in sorted(module.named_parameters()):
                weight.normal_(0.0, 0.02, generator=generator)
        raw = inputs.raw_config
        description = DraftDescription(
            self.name, config, lambda dtype: self.config_json(config, raw, dtype), {}
        )
        return BuiltDraft(
            module, MedusaTrainer(inputs.world, description, inputs.dtype)
        )

    def decoder(self, draft: LoadedDraft, embedding: Tensor) -> DraftDecoder:
        module = draft.module.to(embedding.device)
        assert isinstance(module, Medusa)
        return MedusaDecoder(module)


register(MedusaArchitecture())
