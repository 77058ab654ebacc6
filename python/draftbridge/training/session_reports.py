"""The operations that measure a training session and change nothing of it: validation, memory, device speed."""

from __future__ import annotations

from draftbridge.bridge.handles import TABLE
from draftbridge.bridge.registry import Payload, op
from draftbridge.device.determinism import nondeterminism_coded
from draftbridge.device.device_peak import device_name, measured_peak
from draftbridge.training.session import session_of
from draftbridge.training.session_memory import memory_figures
from draftbridge.training.staging import Staged


@op("train.settle", "engine")
def _settle(payload: Payload) -> Payload:
    session_of(payload).settle()
    return {}


@op("train.validate", "engine")
def _validate(payload: Payload) -> Payload:
    with nondeterminism_coded():
        session_of(payload).validation.add(TABLE.borrow(payload["batch"], Staged))
    return {}


@op("train.validation", "engine")
def _validation(payload: Payload) -> Payload:
    return session_of(payload).validation.read()


@op("train.memory", "engine")
def _memory(payload: Payload) -> Payload:
    return memory_figures(session_of(payload))


@op("train.peak", "engine")
def _peak(payload: Payload) -> Payload:
    session = session_of(payload)
    device = session.world.device
    return {"device": device_name(device), "flops": measured_peak(device, session.trainer.dtype)}
