"""A draft that several ranks train together, and the way in which each of them holds it whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from draftbridge.distributed.world import World

T = TypeVar("T")


class SharedDraft(ABC):
    """A draft that all ranks train together.

    `shards`: per parameter name what this rank optimises; updating them in place updates the draft. Losses are shares:
    the ranks' gradients are added up. For that, a loss must be multiplied by `scale` before it is given to `backward`.
    """

    shards: dict[str, Tensor]
    scale: float = 1.0

    def __init__(self, draft: nn.Module, world: World) -> None:
        self._draft = draft
        self._world = world

    @abstractmethod
    def run(self, work: Callable[[Any], T]) -> T:
        """Run `work` on the whole draft. Its result must be a tensor, or a tuple of tensors."""

    def run_no_grad(self, work: Callable[[Any], T]) -> T:
        """Run `work` on the whole draft without gradients. The state of the training does not change."""
        with torch.no_grad():
            return self.run(work)

    @abstractmethod
    def backward(self, share: Tensor, last: bool) -> None:
        """Add this rank's gradients. Only with `last` are they reduced over the ranks."""

    @abstractmethod
    def gradients(self) -> dict[str, Tensor]:
        """Gradients of `shards` after the last `backward`."""

    @abstractmethod
    def square_share(self, squares: Tensor) -> Tensor:
        """This rank's part of the whole draft's sum of squared gradients. `squares`: the sum over its own gradients."""

    @abstractmethod
    def whole(self, name: str, shard: Tensor) -> Tensor | None:
        """A tensor that is sharded like parameter `name`, joined on rank 0; None elsewhere. A collective."""

    @abstractmethod
    def shard_of(self, name: str, whole: Tensor) -> Tensor:
        """This rank's part of a whole tensor, the inverse of `whole`."""

    def parameters(self) -> list[Tensor]:
        """Of the whole draft; a sharded parameter has the shape of the whole one."""
        return list(self._draft.parameters())

    def clear(self) -> None:
        """Drop the gradients."""
        for parameter in self._draft.parameters():
            parameter.grad = None


class ReplicatedDraft(SharedDraft):
    """Every rank holds the whole draft; gradients are summed."""

    def __init__(self, draft: nn.Module, world: World) -> None:
        super().__init__(draft, world)
        self.shards = {name: p.detach() for name, p in draft.named_parameters()}

    def run(self, work: Callable[[Any], T]) -> T:
        result: T = self._draft(work)
        return result

    def backward(self, share: Tensor, last: bool) -> None:
        torch.autograd.backward(share)
        if last and self._world.size > 1:
            grads = list(self.gradients().values())
            flat = self._world.sum(torch.cat([grad.flatten() for grad in grads]))
            parts = torch.split(flat, [grad.numel() for grad in grads])
            for grad, summed in zip(grads, parts, strict=True):
                grad.copy_(summed.view_as(grad))

    def gradients(self) -> dict[str, Tensor]:
        return {name: cast(Tensor, p.grad) for name, p in self._draft.named_parameters()}

    def square_share(self, squares: Tensor) -> Tensor:
        return squares / self._world.size

    def whole(self, name: str, shard: Tensor) -> Tensor | None:
        return shard if self._world.rank == 0 else None

    def shard_of(self, name: str, whole: Tensor) -> Tensor:
        return whole
