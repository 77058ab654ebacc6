"""The whole state of a run at one step, taken so fast that training goes on while it is written."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from draftbridge.bridge.errors import BridgeError
from draftbridge.bridge.handles import TensorDict
from draftbridge.distributed.parallel import SharedDraft, World
from draftbridge.memory.slab import Slab
from draftbridge.training.optimizer import Optimizer

if TYPE_CHECKING:
    from draftbridge.training.train_session import Frozen

FIRST, SECOND = "exp_avg.", "exp_avg_sq."
_WRITER = 0
_ALIGNMENT = 64


class HostRoom:
    """Host memory for one snapshot at a time, kept for the next: to clear and pin fresh memory takes longer than
    to copy into it. So it is made in the background, while the run has other things to do before its first save."""

    def __init__(self, size: int, device: torch.device) -> None:
        maker = ThreadPoolExecutor(1, thread_name_prefix="draftbridge-room")
        self._slab: Future[Slab] = maker.submit(_pinned, size, device)
        maker.shutdown(wait=False)
        self._used = 0
        self._taken = False

    def take(self) -> None:
        if self._taken:
            raise RuntimeError("the last snapshot is still there")
        self._taken, self._used = True, 0

    def place(self, like: Tensor) -> Tensor:
        """Room for a tensor of this shape and dtype."""
        slab, start = self._slab.result(), self._used
        self._used += -(-like.nbytes // _ALIGNMENT) * _ALIGNMENT
        if self._used > slab.size:
            raise RuntimeError("a snapshot is larger than the room for it")
        flat = torch.frombuffer(slab.memory, dtype=torch.uint8, count=like.nbytes, offset=start)
        return flat.view(like.dtype).view(like.shape)

    def give_back(self) -> None:
        self._taken = False

    def close(self) -> None:
        if self._slab.exception() is None:
            self._slab.result().drop()


def _pinned(size: int, device: torch.device) -> Slab:
    slab = Slab(size)
    # The kernel clears each page when it is first touched: here, and not in the first save.
    torch.frombuffer(slab.memory, dtype=torch.uint8).zero_()
    if device.type == "cuda":
        torch.cuda.set_device(device)
        slab.pin()
    return slab


@dataclass
class Snapshot:
    """On the host of the rank that writes. Owns the room that its tensors lie in until it is closed."""

    frozen: Frozen
    step: int
    world_size: int
    tensors: TensorDict
    """Weights by their names, and the moments by theirs with a prefix."""
    random: list[TensorDict]
    """The generators of each rank."""
    broken: Tensor
    room: HostRoom
    ready: torch.cuda.Event | None

    def settle(self) -> None:
        """Waits until all of it is there. FEATURE_INVALID if a step before it was not finite, and so was none."""
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
        self.room.give_back()


class Snapshots:
    """Takes them, one at a time. On a CUDA device the copies run beside the next steps, on a stream of their own."""

    def __init__(self, world: World, draft: SharedDraft, frozen: Frozen) -> None:
        self._world, self._draft, self._frozen = world, draft, frozen
        self._stream: torch.cuda.Stream | None = None
        self._room: HostRoom | None = None
        self._copied: torch.cuda.Event | None = None
        if world.rank != _WRITER:
            return
        if world.device.type == "cuda":
            self._stream = torch.cuda.Stream(world.device)  # type: ignore[no-untyped-call]
        sizes = [-(-3 * p.numel() * p.element_size() // _ALIGNMENT) + 3 for p in draft.parameters()]
        self._room = HostRoom((sum(sizes) + 1) * _ALIGNMENT, world.device)

    def take(self, optimizer: Optimizer, step: int, broken: Tensor) -> Snapshot | None:
        """What the run is after `step`; None on the ranks that do not write. A collective: the whole tensors are joined
        one at a time, and only the rank that writes keeps them. `broken`: whether a step so far was not finite."""
        if self._room is not None:
            self._room.take()
        random = self._random_states()
        tensors = {name: self._copy(whole) for name, whole in self._wholes(optimizer) if whole is not None}
        if self._room is None:
            return None
        told = self._copy(broken)
        if self._stream is not None:
            self._copied = self._stream.record_event()
        return Snapshot(
            self._frozen, step, self._world.size, tensors, random, told, room=self._room, ready=self._copied
        )

    def hold(self) -> None:
        """What the caller's stream does from here on waits, on the device, until a snapshot has its copy of what it may
        change."""
        if self._copied is not None:
            torch.cuda.current_stream().wait_event(self._copied)
            self._copied = None

    def close(self) -> None:
        if self._room is not None:
            self._room.close()

    def _wholes(self, optimizer: Optimizer) -> Iterator[tuple[str, Tensor | None]]:
        for name, shard in self._draft.shards.items():
            first, second = optimizer.moments(name)
            for prefix, part in (("", shard.detach()), (FIRST, first), (SECOND, second)):
                yield prefix + name, self._draft.whole(name, part)

    def _copy(self, tensor: Tensor) -> Tensor:
        assert self._room is not None
        place = self._room.place(tensor)
        if self._stream is None:
            return place.copy_(tensor)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            place.copy_(tensor, non_blocking=True)
        # A tensor that was joined for this is dropped at once; its memory is free when it has been copied.
        tensor.record_stream(self._stream)
        return place

    def _random_states(self) -> list[TensorDict]:
        states = {"cpu": torch.get_rng_state()}
        if self._world.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self._world.device)
        gathered = {name: self._world.gather(state) for name, state in states.items()}
        joined = {name: parts for name, parts in gathered.items() if parts is not None}
        return [{name: parts[rank] for name, parts in joined.items()} for rank in range(self._world.size)]
