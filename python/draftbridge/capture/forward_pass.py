"""One forward pass of a target over several samples, and how its hidden states come to the host.

On a GPU nothing waits until the result is asked for: the rows are copied into page-locked memory on a stream of their
own, while the target may run on the next samples already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from draftbridge.bridge.handles import TensorDict
from draftbridge.drafts.teacher_summary import TeacherSummary, summary_features
from draftbridge.target.layer_states import LayerStates, StateFeature

FINAL = StateFeature("hidden_state", "final")


@dataclass(frozen=True)
class NotFinite:
    """The first state of a sample that holds NaN or an infinite value."""

    field: str
    found: str


class ForwardPass:
    """Owns the features of its samples, on the host. `wait` before they are read."""

    def __init__(self, rows: TensorDict, lengths: Sequence[int], finite: TensorDict, done: torch.cuda.Event | None):
        """`rows`: by name [n of all samples, ...]. `finite`: by name of a state bool [n of all samples]: False where a
        row may hold a value that is no number."""
        self._rows = rows
        self._lengths = list(lengths)
        self._finite = finite
        self._done = done

    def wait(self) -> None:
        if self._done is not None:
            self._done.synchronize()
        self._done = None

    def features(self) -> list[TensorDict]:
        """For each sample its own rows: views of what the pass owns."""
        self.wait()
        parts = {name: torch.split(rows, self._lengths) for name, rows in self._rows.items()}
        return [{name: part[at] for name, part in parts.items()} for at in range(len(self._lengths))]

    def not_finite(self, aux_layers: Sequence[int]) -> list[NotFinite | None]:
        """For each sample the first layer that gives values which are no numbers; None if there is none."""
        self.wait()
        found: list[NotFinite | None] = [None] * len(self._lengths)
        for name, finite in sorted(self._finite.items(), key=lambda item: item[0] == FINAL.name):
            if bool(finite.all()):
                continue
            for at, (flags, rows) in enumerate(
                zip(torch.split(finite, self._lengths), torch.split(self._rows[name], self._lengths), strict=True)
            ):
                if found[at] is None and not bool(flags.all()):
                    found[at] = _not_finite(name, rows, aux_layers)
        return found


def _not_finite(name: str, rows: Tensor, aux_layers: Sequence[int]) -> NotFinite | None:
    """None if only the sum of a row was too large."""
    layers = torch.split(rows, rows.shape[-1] // len(aux_layers), dim=-1) if name != FINAL.name else (rows,)
    for at, part in enumerate(layers):
        bad = ~torch.isfinite(part)
        if bool(bad.any()):
            row = int(bad.any(-1).nonzero()[0])
            field = name if name == FINAL.name else f"{name}, layer {aux_layers[at]}"
            return NotFinite(field, f"{int(bad.sum())} values that are NaN or infinite, the first at token {row}")
    return None


class ForwardPasses:
    """Runs passes of `decoder`, one after another. Belongs to the thread that made it."""

    def __init__(
        self,
        decoder: Any,
        states: Sequence[StateFeature],
        aux_layers: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        summarise: Callable[[Tensor], TeacherSummary] | None,
    ) -> None:
        """`dtype`: of the states that are kept. `summarise`: makes the summary of the logits of [n, H] last states."""
        self._decoder = decoder
        self._states = tuple(states)
        self._aux_layers = tuple(aux_layers)
        self._dtype = dtype
        self._device = device
        self._summarise = summarise
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def begin(self, ids: Sequence[Tensor]) -> ForwardPass:
        """`ids`: int64 [n] of each sample.

        Rows are right-padded to the longest. The attention is causal, so padding reaches no real token; without a
        mask for it the attention takes its fastest kernels.
        """
        lengths = [len(row) for row in ids]
        batch = torch.nn.utils.rnn.pad_sequence(list(ids), batch_first=True)
        real = _real_rows(lengths, batch.shape[1])
        with LayerStates(self._decoder, self._aux_layers) as layers:
            self._decoder(input_ids=self._on_device(batch), use_cache=False)
            read = {state: layers.read(state) for state in dict.fromkeys((*self._states, FINAL))}
        real = None if real is None else self._on_device(real)
        kept = {state: self._kept(whole, real) for state, whole in read.items()}
        rows = {state.name: kept[state] for state in self._states}
        finite = {name: torch.isfinite(state.sum(-1, dtype=torch.float32)) for name, state in rows.items()}
        return self._to_host(rows | self._summary(kept[FINAL], lengths), lengths, finite)

    def _on_device(self, tensor: Tensor) -> Tensor:
        """Copied without waiting for what the device has to do before."""
        if self._copies is None:
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _kept(self, whole: Tensor, real: Tensor | None) -> Tensor:
        """The rows of real tokens of [B, n, width], one sample behind another."""
        flat = whole.reshape(-1, whole.shape[-1]).to(self._device, non_blocking=True)
        if real is not None:
            flat = flat.index_select(0, real)
        # What a layer returns may be written to by the layers behind it.
        return flat.to(self._dtype, copy=flat.data_ptr() == whole.data_ptr()).contiguous()

    def _summary(self, final: Tensor, lengths: Sequence[int]) -> TensorDict:
        """Sample by sample: the logits of a whole batch would not fit."""
        if self._summarise is None:
            return {}
        parts = [self._summarise(rows) for rows in torch.split(final, list(lengths))]
        whole = TeacherSummary(torch.cat([part.token for part in parts]), torch.cat([part.total for part in parts]))
        return summary_features(whole)

    def _to_host(self, rows: TensorDict, lengths: Sequence[int], finite: TensorDict) -> ForwardPass:
        if self._copies is None:
            return ForwardPass(rows, lengths, finite, None)
        stream = self._copies
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            host_rows = {name: _copied(tensor, stream) for name, tensor in rows.items()}
            host_finite = {name: _copied(tensor, stream) for name, tensor in finite.items()}
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(stream)
        return ForwardPass(host_rows, lengths, host_finite, done)


def _real_rows(lengths: Sequence[int], longest: int) -> Tensor | None:
    """Where the real tokens stand in a padded batch that is flattened; None if nothing is padded."""
    if all(length == longest for length in lengths):
        return None
    return torch.cat([torch.arange(length) + at * longest for at, length in enumerate(lengths)])


def _copied(tensor: Tensor, stream: torch.cuda.Stream) -> Tensor:
    """In page-locked memory, once `stream` has come so far."""
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    tensor.record_stream(stream)
    return host
