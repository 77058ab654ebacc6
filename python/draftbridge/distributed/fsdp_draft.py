"""A draft that is sharded over the ranks with FSDP2. Importing this module takes a second of imports within torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from draftbridge.distributed.shared_draft import SharedDraft
from draftbridge.distributed.world import World

T = TypeVar("T")


class FsdpDraft(SharedDraft):
    """FSDP2, one unit: one all-gather and one reduce-scatter however often the unroll uses the weights."""

    def __init__(self, draft: nn.Module, world: World, half: bool) -> None:
        super().__init__(draft, world)
        # FSDP averages over the ranks; shares have to be added.
        self.scale = float(world.size)
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
        fully_shard(draft, mesh=init_device_mesh(world.device.type, (world.size,)), mp_policy=policy)
        self._unit = cast(FSDPModule, draft)
        self._params = {name: cast(DTensor, p) for name, p in draft.named_parameters()}
        self.shards = {name: cast(DTensor, p.detach()).to_local() for name, p in self._params.items()}

    def run(self, work: Callable[[Any], T]) -> T:
        result: T = self._draft(work)
        return result

    def run_no_grad(self, work: Callable[[Any], T]) -> T:
        found = super().run_no_grad(work)
        # Without a backward pass FSDP does not free the gathered weights itself.
        self._unit.reshard()
        return found

    def backward(self, share: Tensor, last: bool) -> None:
        self._unit.set_requires_gradient_sync(last)
        torch.autograd.backward(share)

    def gradients(self) -> dict[str, Tensor]:
        return {name: cast(DTensor, p.grad).to_local() for name, p in self._params.items()}

    def square_share(self, squares: Tensor) -> Tensor:
        return squares

    def whole(self, name: str, shard: Tensor) -> Tensor | None:
        rows = self._params[name].shape[0]
        # As torch.chunk splits: every part has as many rows as the first, but those at the end, which may be empty.
        rows_per_rank = -(-rows // self._world.size)
        missing = rows_per_rank - shard.shape[0]
        part = shard if missing == 0 else torch.cat((shard, shard.new_zeros((missing, *shard.shape[1:]))))
        joined = self._world.gather(part)
        return None if joined is None else joined.flatten(0, 1)[:rows]

    def shard_of(self, name: str, whole: Tensor) -> Tensor:
        like = self._params[name]
        # Every rank has read the whole tensor, so nothing needs to be sent.
        return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None).to_local()
