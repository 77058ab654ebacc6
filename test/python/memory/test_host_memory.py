"""Memory that CUDA knows must not go before CUDA has forgotten it, however it goes."""

from __future__ import annotations

import gc

import pytest
import torch
from draftbridge.memory.host_memory import HostMemory
from draftbridge.memory.slab import SlabPool, SlabSet

SIZE = 1 << 22


class Registered:
    """Stands for the CUDA runtime, which is not there without a GPU: the addresses that it knows."""

    def __init__(self) -> None:
        self.known: dict[int, int] = {}

    def cudaHostRegister(self, address: int, size: int, _flags: int) -> int:
        assert address not in self.known
        self.known[address] = size
        return 0

    def cudaHostUnregister(self, address: int) -> int:
        del self.known[address]
        return 0


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Registered:
    found = Registered()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: found)
    return found


def test_memory_that_nobody_closes_is_unpinned_before_it_goes(registered: Registered) -> None:
    memory = HostMemory.of(SIZE)
    memory.pin()
    memory.pin()
    assert list(registered.known.values()) == [SIZE]
    loop = [memory]
    loop.append(loop)  # type: ignore[arg-type]
    del memory, loop
    gc.collect()
    assert registered.known == {}


def test_memory_that_a_tensor_outlives_stays_pinned_until_the_tensor_goes(registered: Registered) -> None:
    samples = SlabSet(SIZE, SlabPool(0))
    kept = samples.tensor(0, torch.uint8, (SIZE,))
    samples.close()
    del samples
    assert len(registered.known) == 1
    kept.fill_(7)
    del kept
    assert registered.known == {}


def test_a_pool_unpins_what_it_drops(registered: Registered) -> None:
    SlabSet(SIZE, SlabPool(0)).close()
    assert registered.known == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: copies go through real pinned memory")
def test_what_lies_where_pinned_memory_was_is_copied_as_it_is() -> None:
    torch.zeros(1, device="cuda")
    for value in range(20):
        memory = HostMemory.of(SIZE)
        memory.pin()
        assert memory.pinned
        tensor = torch.frombuffer(memory, dtype=torch.uint8).fill_(value)
        assert tensor.cuda().eq(value).all()
        del memory, tensor
