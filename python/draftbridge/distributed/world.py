"""All ranks of a run as one: the process group, and what is agreed in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore
from torch.distributed.rendezvous import rendezvous as meet

from draftbridge.bridge.errors import BridgeError
from draftbridge.distributed.fresh_store import fresh_store, outlives_start


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
        elif outlives_start():
            shared, _, _ = next(meet(rendezvous, rank, size, timeout=timeout))
            store = fresh_store(shared, rank, size, timeout)
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
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
