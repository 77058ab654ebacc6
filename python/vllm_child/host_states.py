"""vLLM's connector for hidden states, for a target that runs on a CPU.

The one that vLLM has copies states into page-locked memory on a CUDA stream, which a machine without a GPU lacks. vLLM
loads this one by its setting `kv_connector_module_path`; on a GPU its own is used.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.distributed.kv_transfer.kv_connector.v1.example_hidden_states_connector import (
    ExampleHiddenStatesConnector,
    extract_from_kv_cache,
)


class _Done:
    """In the place of a CUDA event: what it stands for has happened already."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        return None


class HostStatesConnector(ExampleHiddenStatesConnector):  # type: ignore[misc]
    def _submit_async_write(self, pending: Any) -> None:
        """Writes the states of a sample that is done from the cache to its file, on a thread of vLLM's pool."""
        if not self._is_tp_rank_zero:
            return
        length, size = len(pending.token_ids), self._block_size
        at = torch.arange(length)
        slots = torch.tensor(pending.block_ids)[at // size] * size + at % size
        # Indexing copies: the blocks may be given to another sample while the file is written.
        states = extract_from_kv_cache(self._kv_cache, slots, length)
        tensors = {"hidden_states": states.contiguous(), "token_ids": pending.token_ids.clone()}
        done, lock = _Done(), self._lock_fds.pop(pending.req_id)
        future = self._executor.submit(self._write_tensors, tensors, done, pending.filename, lock)
        self._req_copy_events[pending.req_id] = done
        self._req_futures[pending.req_id] = future
        future.add_done_callback(lambda written: self._on_write_done(pending.req_id, written))
