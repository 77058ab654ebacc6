"""From samples in memory to a batch on the device, ahead of the step that needs it and beside the one that runs."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from draftbridge.bridge.handles import TensorDict
from draftbridge.drafts import teacher_summary
from draftbridge.drafts.draft_trainer import DraftTrainer, Plan, Rows
from draftbridge.drafts.loss_mask import effective_mask
from draftbridge.drafts.teacher_summary import TeacherSummary, has_summary
from draftbridge.target.layer_states import StateFeature
from draftbridge.training.batch import Batch, FeatureLayout


@dataclass(frozen=True, eq=False)
class Staged:
    """A batch on the device. `ready`: recorded on the stream that copied it; None where nothing was copied."""

    rows: Rows
    tensors: tuple[Tensor, ...]
    """All of `rows`, the plan's included."""
    tokens: int
    positions: int
    """Rows that the batch would have if it were padded to its longest sample."""
    loss_tokens: int
    samples: int
    flops: float
    """Floating-point operations of training on it."""
    ready: torch.cuda.Event | None

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors)

    def take(self) -> Rows:
        """The rows, for the current stream: it waits for the copies, and their memory is kept until it is done."""
        if self.ready is not None:
            stream = torch.cuda.current_stream()
            stream.wait_event(self.ready)
            for tensor in self.tensors:
                tensor.record_stream(stream)
        return self.rows


class Staging:
    """Makes batches for `trainer`. On CUDA it may be called from another thread than the one that trains."""

    def __init__(self, device: torch.device, trainer: DraftTrainer, layout: FeatureLayout) -> None:
        self._device, self._trainer, self._layout = device, trainer, layout
        self._alive: weakref.WeakSet[Staged] = weakref.WeakSet()
        self.peak_bytes = 0
        """The most device memory that all batches alive at one time have used."""
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def stage(self, samples: Sequence[TensorDict], max_length: int) -> Staged:
        """A batch of these samples, cut at `max_length` rows. When it returns, their memory may be used again."""
        if not samples:
            return self.of(self._layout.empty_batch())
        if self._stream is None:
            return self.of(self._layout.collate(samples, max_length))
        cut = self._layout.cut(samples, max_length)
        lengths = tuple(sample["input_ids"].numel() for sample in cut)
        mask = torch.cat([sample["loss_mask"] for sample in cut])
        plan = self._trainer.plan(mask, lengths)
        torch.cuda.set_device(self._device)
        with torch.cuda.stream(self._stream):
            names = ("input_ids", *(state.name for state in self._layout.states))
            sent = {name: self._send([sample[name] for sample in cut]) for name in names}
            on_device = self._trainer.to_device(plan)
            summary = self._send_summary(cut, on_device)
            rows = Rows(sent["input_ids"], self._states(sent, on_device), on_device, summary)
            ready = self._stream.record_event()
        staged = self._staged(rows, plan, mask, lengths, ready)
        # The samples lie in memory that the next reads wait for; the copies take a small part of a step.
        ready.synchronize()
        return staged

    def of(self, batch: Batch) -> Staged:
        """A batch that lies in CPU memory already."""
        plan = self._trainer.plan(batch.loss_mask, batch.lengths)
        on_device = self._trainer.to_device(plan)
        ids = batch.input_ids.to(self._device, non_blocking=True)
        states = {
            state.name: self._wanted(state, batch.states[state.name], plan).to(self._device, non_blocking=True)
            for state in self._layout.states
        }
        summary = batch.summary if self._trainer.uses_summary else None
        if summary is not None:
            summary = TeacherSummary(*(part[plan.wanted].to(self._device, non_blocking=True) for part in summary))
        return self._staged(Rows(ids, states, on_device, summary), plan, batch.loss_mask, batch.lengths, None)

    def _states(self, sent: TensorDict, plan: Plan) -> TensorDict:
        dtype = self._trainer.dtype
        return {state.name: self._wanted(state, sent[state.name].to(dtype), plan) for state in self._layout.states}

    def _wanted(self, state: StateFeature, tensor: Tensor, plan: Plan) -> Tensor:
        return tensor[plan.wanted] if state.rows == "wanted" else tensor

    def _send_summary(self, cut: Sequence[TensorDict], plan: Plan) -> TeacherSummary | None:
        if not (self._trainer.uses_summary and all(map(has_summary, cut))):
            return None
        token, total = (self._send([sample[name] for sample in cut])[plan.wanted] for name in teacher_summary.DTYPES)
        return TeacherSummary(token.long(), total)

    def _staged(
        self, rows: Rows, plan: Plan, mask: Tensor, lengths: tuple[int, ...], ready: torch.cuda.Event | None
    ) -> Staged:
        """`plan`: that of the rows, on the CPU."""
        staged = Staged(
            rows=rows,
            tensors=(
                rows.ids,
                *rows.states.values(),
                *(rows.summary or ()),
                *self._trainer.plan_tensors(rows.plan),
            ),
            tokens=sum(lengths),
            positions=len(lengths) * max(lengths, default=0),
            loss_tokens=int(effective_mask(mask, lengths).sum()),
            samples=len(lengths),
            flops=self._trainer.flops(plan, has_summary=rows.summary is not None),
            ready=ready,
        )
        self._alive.add(staged)
        self.peak_bytes = max(self.peak_bytes, sum(batch.bytes for batch in self._alive))
        return staged

    def _send(self, parts: list[Tensor]) -> Tensor:
        """The parts end to end on the device, without a copy on the host."""
        count = sum(part.shape[0] for part in parts)
        whole = torch.empty((count, *parts[0].shape[1:]), dtype=parts[0].dtype, device=self._device)
        for place, part in zip(torch.split(whole, [part.shape[0] for part in parts]), parts, strict=True):
            place.copy_(part, non_blocking=True)
        return whole
