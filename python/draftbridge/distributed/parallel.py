"""Several ranks as one: the process group, and the two ways in which they share a draft."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from draftbridge.bridge.errors import BridgeError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among all ranks. Every method is a collective: all ranks call it, in the same order."""

    rank: int
    size: int
    device: torch.device
    hosts: dist.ProcessGroup | None = None
    """A second group of all ranks, for collectives on the host. None: the default group works on the host."""

    def all_sum(self, *numbers: float) -> list[float]:
        """Sums over all ranks, computed on the host: no rank waits for its device."""
        if self.size == 1:
            return list(numbers)
        summed = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(summed, group=self.hosts)
        return cast(list[float], summed.tolist())

    def all_max(self, *numbers: float) -> list[float]:
        """The largest value of any rank for each number, computed on the host."""
        if self.size == 1:
            return list(numbers)
        largest = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.hosts)
        return cast(list[float], largest.tolist())

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: Tensor) -> Tensor | None:
        """The tensors of all ranks, of one shape, stacked along a new first axis on rank 0; None elsewhere."""
        if self.size == 1:
            return tensor[None]
        joined = tensor.new_empty((self.size, *tensor.shape)) if self.rank == 0 else None
        parts = None if joined is None else list(joined)
        dist.gather(tensor, parts, dst=0, group=self.hosts if tensor.device.type == "cpu" else None)
        return joined

    def union(self, numbers: Sequence[int]) -> list[int]:
        """All numbers that any rank has, each once, ascending. Sent as tensors: nothing is pickled."""
        own = torch.tensor(sorted(set(numbers)), dtype=torch.int64, device=self.device)
        if self.size == 1:
            return cast(list[int], own.tolist())
        counts = [own.new_zeros(1) for _ in range(self.size)]
        dist.all_gather(counts, own.new_tensor([own.numel()]))
        sizes = [int(count) for count in counts]
        padded = torch.cat((own, own.new_zeros(max(sizes) - own.numel())))
        gathered = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(gathered, padded)
        return sorted({value for part, size in zip(gathered, sizes, strict=True) for value in part[:size].tolist()})


_joined: World | None = None


def world() -> World:
    """The world that `dist.init` joined."""
    if _joined is None:
        raise RuntimeError("dist.init has not been called")
    return _joined


def choose_device(wanted: str, local_rank: int) -> torch.device:
    """`auto` takes the CUDA device of this local rank where there is one. CONFIG_INVALID if `cuda` is not there."""
    count = torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and count == 0):
        return torch.device("cpu")
    if local_rank >= count:
        raise BridgeError(
            "CONFIG_INVALID",
            "There are more ranks on this node than CUDA devices.",
            field="launch.ranksPerNode",
            found=f"local rank {local_rank}, {count} devices",
            fix="lower launch.ranksPerNode or leave it at auto",
        )
    return torch.device("cuda", local_rank)


def join(rank: int, size: int, device: torch.device, rendezvous: str, timeout_seconds: float) -> World:
    """Join the process group at `rendezvous` (tcp://host:port). PEER_TIMEOUT if not all ranks join in time."""
    global _joined
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    timeout = timedelta(seconds=timeout_seconds)
    try:
        if size == 1:
            # A single rank needs no port, and a port could be in use.
            dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1, timeout=timeout)
        else:
            dist.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=size, timeout=timeout)
    except (dist.DistStoreError, dist.DistNetworkError) as exc:
        raise BridgeError(
            "PEER_TIMEOUT",
            "Not all ranks of this run joined the process group.",
            field="launch.rendezvous",
            found=f"rank {rank} of {size} at {rendezvous}: {exc}",
            fix="check that every node runs, reaches that address, and uses the same configuration",
        ) from exc
    hosts = dist.new_group(backend="gloo", timeout=timeout) if size > 1 and backend == "nccl" else None
    _joined = World(rank, size, device, hosts)
    return _joined


def leave() -> None:
    """Leave the process group, if there is one."""
    global _joined
    if dist.is_initialized():
        dist.destroy_process_group()
    _joined = None


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


def share_draft(draft: nn.Module, world: World, kind: str, half: bool) -> SharedDraft:
    """Give `draft` to all ranks; it must be equal on all of them. `half`: FSDP gathers the weights in bf16; the
    optimised weights stay fp32."""
    draft.to(world.device)
    return FsdpDraft(draft, world, half) if kind == "fsdp" else ReplicatedDraft(draft, world)
