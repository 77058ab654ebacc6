"""AdamW over one rank's shards, and the learning rate over a run."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from draftbridge.settings.train_settings import OptimizerSettings

# A shorter decay leaves the reference's overshoot out, which would be large (twice the rate for two steps of decay).
_OVERSHOOT_FROM = 20


def rate(settings: OptimizerSettings, total_steps: int, step: int) -> float:
    """Learning rate of optimiser step `step` (from 0): a linear warm-up that ends at lr, then the schedule down to 0.

    The cosine after a warm-up is the reference's: its recursion starts one step early, so with T steps of decay every
    rate is 2 / (1 + cos(pi / T)) times the textbook one (1.0003 at T = 95). The goldens show it from step 6 on.
    """
    warmup = int(settings.warmup_ratio * total_steps)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.lr
    length = max(1, total_steps - warmup)
    done = min(1.0, (step - warmup) / length)
    if settings.schedule == "linear":
        return settings.lr * (1 - done)
    overshoot = 2 / (1 + math.cos(math.pi / length)) if warmup and length >= _OVERSHOOT_FROM else 1.0
    return settings.lr * overshoot * (1 + math.cos(math.pi * done)) / 2


class Optimizer:
    """AdamW that works on plain local tensors, so that sharded and whole drafts are the same to it."""

    def __init__(self, shards: dict[str, Tensor], settings: OptimizerSettings, total_steps: int) -> None:
        self._settings, self._total_steps = settings, total_steps
        # A rank may hold no row of a small parameter, and fused kernels take no empty tensors.
        self._leaves = {name: t.requires_grad_() for name, t in shards.items() if t.numel() > 0}
        self._empty = {name: t for name, t in shards.items() if t.numel() == 0}
        self._adam = torch.optim.AdamW(
            list(self._leaves.values()),
            lr=settings.lr,
            betas=settings.betas,
            eps=1e-8,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def step(self, gradients: dict[str, Tensor], norm: Tensor, broken: Tensor, step: int) -> None:
        """Optimiser step `step` (from 0) with gradients clipped to the global `norm`. Changes the gradients.

        `norm` and `broken` are scalars that stay where they are: nothing waits for the device. If `broken`, no weight
        and no moment changes.
        """
        for name, leaf in self._leaves.items():
            leaf.grad = gradients[name]
        # The fused kernel divides by grad_scale and skips the step where found_inf is set, as for torch's loss scaling.
        self._adam.grad_scale = ((norm + 1e-6) / self._settings.clip).clamp(min=1.0).float()  # type: ignore[attr-defined]
        self._adam.found_inf = broken.float()  # type: ignore[attr-defined]
        self._adam.param_groups[0]["lr"] = rate(self._settings, self._total_steps, step)
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    def moments(self, name: str) -> tuple[Tensor, Tensor]:
        """First and second moment of this rank's shard of `name`; zeros before the first step."""
        if name in self._empty:
            return self._empty[name], self._empty[name]
        leaf = self._leaves[name]
        state = self._adam.state.get(leaf)
        if not state:
            return torch.zeros_like(leaf), torch.zeros_like(leaf)
        return state["exp_avg"], state["exp_avg_sq"]

    def restore(self, name: str, first: Tensor, second: Tensor, step: int) -> None:
        """Set the moments of this rank's shard of `name` as they were after `step` steps."""
        if name in self._empty:
            return
        leaf = self._leaves[name]
        restored = {"exp_avg": first.to(leaf).clone(), "exp_avg_sq": second.to(leaf).clone()}
        count = torch.tensor(float(step), dtype=torch.float32, device=leaf.device)
        self._adam.state[leaf] = {"step": count, **restored}
