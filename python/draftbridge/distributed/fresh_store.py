"""A store that nobody has written to, inside of one that outlives a start of the job."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from uuid import uuid4

from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed import DistStoreError

_LOOK_SECONDS = 0.02


def outlives_start() -> bool:
    """Whether torchrun keeps the store of the ranks in its agent, for all starts of the job."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def fresh_store(store: Store, rank: int, size: int, timeout: timedelta) -> Store:
    """The part of `store` for this start of the job. What ranks of an earlier start have left in the store, such as the
    addresses of processes that are gone, is not in it.

    Each rank says hello with a random word of its own. Rank 0 answers each word with the name of this start: that of
    an earlier process is answered too, and nobody is there to read that. A collective.
    Raises DistStoreError when a rank does not come in time.
    """
    if rank == 0:
        return PrefixStore(_welcome(store, size, timeout), store)
    word = uuid4().hex
    store.set(f"hello/{rank}", word)
    store.wait([f"welcome/{word}"], timeout)
    start = store.get(f"welcome/{word}").decode()
    store.set(f"joined/{start}/{rank}", "")
    return PrefixStore(start, store)


def _welcome(store: Store, size: int, timeout: timedelta) -> str:
    start = uuid4().hex
    missing = set(range(1, size))
    until = time.monotonic() + timeout.total_seconds()
    while True:
        for rank in sorted(missing):
            if store.check([f"joined/{start}/{rank}"]):
                missing.discard(rank)
            elif store.check([f"hello/{rank}"]):
                store.set(f"welcome/{store.get(f'hello/{rank}').decode()}", start)
        if not missing:
            return start
        if time.monotonic() > until:
            raise DistStoreError(f"ranks that did not come in {timeout.total_seconds():.0f} s: {sorted(missing)}")
        time.sleep(_LOOK_SECONDS)
