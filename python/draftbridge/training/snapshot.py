"""The whole state of a run at one step, copied to host memory so that training goes on while it is written."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.distributed.shared_draft import SharedDraft
from draftbridge.distributed.world import World
from draftbridge.drafts.draft_description import DraftDescription
from draftbridge.memory.slab import Slab
from draftbridge.training.optimizer import Optimizer

FIRST, SECOND = "exp_avg.", "exp_avg_sq."
_WRITER = 0
_ALIGNMENT = 64


class PinnedBuffer:
    """Host memory for one snapshot at a time, kept for the next one: clearing and pinning fresh memory takes longer
    than copying into it. It is made on a thread of its own, before the first save needs it."""

    def __init__(self, size: int, device: torch.device) -> None:
        maker = ThreadPoolExecutor(1, thread_name_prefix="draftbridge-pinned")
        self._slab: Future[Slab] = maker.submit(_pinned, size, device)
        maker.shutdown(wait=False)
        self._used = 0
        self._taken = False

    def take(self) -> None:
        if self._taken:
            raise RuntimeError("the last snapshot is still in use")
        self._taken, self._used = True, 0

    def allocate(self, like: Tensor) -> Tensor:
        """Uninitialised memory for a tensor of this shape and dtype."""
        slab, start = self._slab.result(), self._used
        self._used += -(-like.nbytes // _ALIGNMENT) * _ALIGNMENT
        if self._used > slab.size:
            raise RuntimeError("a snapshot is larger than its buffer")
        flat = torch.frombuffer(slab.memory, dtype=torch.uint8, count=like.nbytes, offset=start)
        return flat.view(like.dtype).view(like.shape)

    def give_back(self) -> None:
        self._taken = False

    def close(self) -> None:
        if self._slab.exception() is None:
            self._slab.result().drop()


def _pinned(size: int, device: torch.device) -> Slab:
    slab = Slab(size)
    # The kernel clears each page when it is first written: do that here, and not in the first save.
    torch.frombuffer(slab.memory, dtype=torch.uint8).zero_()
    if device.type == "cuda":
        torch.cuda.set_device(device)
        slab.pin()
    return slab


@dataclass
class Snapshot:
    """On the host of the rank that writes. Its tensors lie in `buffer`, which it uses until it is closed."""

    description: DraftDescription
    step: int
    world_size: int
    tensors: TensorDict
    """Weights by their names, and the moments by theirs with a prefix."""
    random: list[TensorDict]
    """The generators of each rank."""
    broken: Tensor
    buffer: PinnedBuffer
    ready: torch.cuda.Event | None

    def settle(self) -> None:
        """Waits until all of it is copied. FEATURE_INVALID if the loss of a step before it was not finite."""
        if self.ready is not None:
            self.ready.synchronize()
        if bool(self.broken):
            fix = "look for NaN in the features, or lower train.optimizer.lr; the last checkpoint is good"
            what = f"The loss became non-finite before optimiser step {self.step} could be saved."
            raise BridgeError("FEATURE_INVALID", what, field="loss", fix=fix)

    def close(self) -> None:
        if self.ready is not None:
            self.ready.synchronize()
        self.tensors.clear()
        self.buffer.give_back()


class Snapshots:
    """Takes snapshots, one at a time. On CUDA the copies run beside the next steps, on a stream of their own."""

    def __init__(self, world: World, draft: SharedDraft, description: DraftDescription) -> None:
        self._world, self._draft, self._description = world, draft, description
        self._stream: torch.cuda.Stream | None = None
        self._buffer: PinnedBuffer | None = None
        self._copied: torch.cuda.Event | None = None
        if world.rank != _WRITER:
            return
        if world.device.type == "cuda":
            self._stream = torch.cuda.Stream(world.device)  # type: ignore[no-untyped-call]
        sizes = [-(-3 * p.numel() * p.element_size() // _ALIGNMENT) + 3 for p in draft.parameters()]
        self._buffer = PinnedBuffer((sum(sizes) + 1) * _ALIGNMENT, world.device)

    def take(self, optimizer: Optimizer, step: int, broken: Tensor) -> Snapshot | None:
        """The state after `step`; None on the ranks that do not write. A collective: the sharded tensors are joined one
        at a time, and only the rank that writes keeps them. `broken`: whether the loss of any step was not finite."""
        if self._buffer is not None:
            self._buffer.take()
        random = self._random_states()
        tensors = {name: self._copy(whole) for name, whole in self._wholes(optimizer) if whole is not None}
        if self._buffer is None:
            return None
        broken_copy = self._copy(broken)
        if self._stream is not None:
            self._copied = self._stream.record_event()
        return Snapshot(
            self._description,
            step,
            self._world.size,
            tensors,
            random,
            broken_copy,
            buffer=self._buffer,
            ready=self._copied,
        )

    def wait_for_copy(self) -> None:
        """Makes the current stream wait, on the device, until the last snapshot has been copied: what comes next
        changes the weights."""
        if self._copied is not None:
            torch.cuda.current_stream().wait_event(self._copied)
            self._copied = None

    def close(self) -> None:
        if self._buffer is not None:
            self._buffer.close()

    def _wholes(self, optimizer: Optimizer) -> Iterator[tuple[str, Tensor | None]]:
        for name, shard in self._draft.shards.items():
            first, second = optimizer.moments(name)
            for prefix, part in (("", shard.detach()), (FIRST, first), (SECOND, second)):
                yield prefix + name, self._draft.whole(name, part)

    def _copy(self, tensor: Tensor) -> Tensor:
        assert self._buffer is not None
        copy = self._buffer.allocate(tensor)
        if self._stream is None:
            return copy.copy_(tensor)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            copy.copy_(tensor, non_blocking=True)
        # The caller drops a joined tensor at once; its memory must not be reused before the copy is done.
        tensor.record_stream(self._stream)
        return copy

    def _random_states(self) -> list[TensorDict]:
        states = {"cpu": torch.get_rng_state()}
        if self._world.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self._world.device)
        gathered = {name: self._world.gather(state) for name, state in states.items()}
        joined = {name: parts for name, parts in gathered.items() if parts is not None}
        return [{name: parts[rank] for name, parts in joined.items()} for rank in range(self._world.size)]
