"""From samples in memory to a batch on the device, ahead of the step that needs it and beside the one that runs."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.bridge.handles import TensorDict
from draftbridge.drafts.eagle3.draft import DraftConfig
from draftbridge.drafts.eagle3.flops import unroll_flops
from draftbridge.drafts.eagle3.row_plan import RowPlan, effective_mask
from draftbridge.drafts.eagle3.teacher import TeacherSummary
from draftbridge.training.batch import SUMMARY_FEATURES, Batch, cut, has_summary, joined, nothing
from draftbridge.training.unrolling import Plan, Rows, Unrolling


@dataclass(frozen=True, eq=False)
class Staged:
    """What a step needs. `ready`: recorded on the stream that copied; None where nothing had to be copied."""

    rows: Rows
    tokens: int
    positions: int
    """What the batch would hold if it were padded to its longest sample."""
    loss_tokens: int
    samples: int
    flops: float
    """What training on it takes."""
    ready: torch.cuda.Event | None

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(self.rows))

    def take(self) -> Rows:
        """The rows, for the stream that asks: its work waits for the copies, and they are kept until it is done."""
        if self.ready is not None:
            stream = torch.cuda.current_stream()
            stream.wait_event(self.ready)
            for tensor in _tensors(self.rows):
                tensor.record_stream(stream)
        return self.rows


class Staging:
    """Makes batches. On CUDA it may be called from another thread than the one that trains."""

    def __init__(self, device: torch.device, dtype: torch.dtype, config: DraftConfig, unrolling: Unrolling) -> None:
        """`dtype`: of the features on the device."""
        self._device, self._dtype, self._config, self._unrolling = device, dtype, config, unrolling
        self._alive: weakref.WeakSet[Staged] = weakref.WeakSet()
        self.peak_bytes = 0
        """The most that all batches which were alive at one time took up."""
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def stage(self, samples: Sequence[TensorDict], max_length: int) -> Staged:
        """A batch of these samples, cut at `max_length` rows. When it returns, their memory may be used again."""
        if not samples:
            return self.of(nothing(self._config.hidden_size))
        if self._stream is None:
            return self.of(joined(cut(samples, max_length)))
        whole = cut(samples, max_length)
        lengths = tuple(sample["input_ids"].numel() for sample in whole)
        mask = torch.cat([sample["loss_mask"] for sample in whole])
        plan = self._unrolling.plan(mask, lengths)
        torch.cuda.set_device(self._device)
        with torch.cuda.stream(self._stream):
            ids, hidden, aux = (
                self._sent([sample[name] for sample in whole])
                for name in ("input_ids", "hidden_state", "aux_hidden_state")
            )
            moved = self._unrolling.moved(plan)
            summary = None
            if self._unrolling.uses_stored_teacher and has_summary(whole):
                token, total = (
                    self._sent([sample[name] for sample in whole])[moved.wanted] for name in SUMMARY_FEATURES
                )
                summary = TeacherSummary(token.long(), total)
            rows = Rows(ids, aux.to(self._dtype), hidden.to(self._dtype)[moved.wanted], moved, summary)
            ready = self._stream.record_event()
        staged = self._staged(rows, plan, mask, lengths, ready)
        # The samples lie in memory that others wait for; the copies are a small part of a step.
        ready.synchronize()
        return staged

    def of(self, batch: Batch) -> Staged:
        """A batch that lies in CPU memory already."""
        plan = self._unrolling.plan(batch.loss_mask, batch.lengths)
        moved = self._unrolling.moved(plan)
        ids, aux, hidden = (
            tensor.to(self._device, non_blocking=True)
            for tensor in (batch.input_ids, batch.aux, batch.hidden_state[plan.wanted])
        )
        summary = batch.summary if self._unrolling.uses_stored_teacher else None
        if summary is not None:
            summary = TeacherSummary(*(part[plan.wanted].to(self._device, non_blocking=True) for part in summary))
        return self._staged(Rows(ids, aux, hidden, moved, summary), plan, batch.loss_mask, batch.lengths, None)

    def _staged(
        self, rows: Rows, plan: Plan, mask: Tensor, lengths: tuple[int, ...], ready: torch.cuda.Event | None
    ) -> Staged:
        """`plan`: that of the rows, on the CPU."""
        staged = Staged(
            rows=rows,
            tokens=sum(lengths),
            positions=len(lengths) * max(lengths, default=0),
            loss_tokens=int(effective_mask(mask, lengths).sum()),
            samples=len(lengths),
            flops=unroll_flops(self._config, plan.work(), stored_teacher=rows.summary is not None),
            ready=ready,
        )
        self._alive.add(staged)
        self.peak_bytes = max(self.peak_bytes, sum(batch.bytes for batch in self._alive))
        return staged

    def _sent(self, parts: list[Tensor]) -> Tensor:
        """The parts end to end on the device, without a copy on the host."""
        count = sum(part.shape[0] for part in parts)
        whole = torch.empty((count, *parts[0].shape[1:]), dtype=parts[0].dtype, device=self._device)
        for place, part in zip(torch.split(whole, [part.shape[0] for part in parts]), parts, strict=True):
            place.copy_(part, non_blocking=True)
        return whole


def _tensors(rows: Rows) -> list[Tensor]:
    plans = (rows.plan, *rows.plan.steps) if isinstance(rows.plan, RowPlan) else (rows.plan,)
    planned = [value for plan in plans for value in vars(plan).values() if isinstance(value, Tensor)]
    return [rows.ids, rows.aux, rows.hidden, *(rows.summary or ()), *planned]
