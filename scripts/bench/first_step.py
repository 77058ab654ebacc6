"""What scripts/bench/launch.ts compares with: a rank's work until its first step, under torchrun and without Node.

`torchrun first_step.py PAYLOAD FEATURES`: the payload of `train.build`, and a feature file whose sample it trains on.
Rank 0 prints the time of day when the step is done.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "python"))

from draftbridge.bridge.handles import TABLE
from draftbridge.bridge.registry import OPS
from draftbridge.distributed.world import choose_device, join, leave
from draftbridge.features.ingest import load_features
from draftbridge.training.train_session import MicroStep, TrainSession


def main() -> None:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    meeting = f"tcp://{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    # torchrun already listens at its own address; the ranks of this job meet at the next port.
    host, port = meeting.rsplit(":", 1)
    join(rank, size, choose_device("auto", int(os.environ["LOCAL_RANK"])), f"{host}:{int(port) + 1}", 120)
    import draftbridge.training.session  # noqa: F401  its import registers the op

    payload = json.loads(Path(sys.argv[1]).read_text())
    built = OPS["train.build"][1](payload)
    assert built is not None
    session = TABLE.borrow(built["handle"], TrainSession)
    sample, _ = load_features(sys.argv[2], 0)
    staged = session.staging.stage([sample], 1 << 20)
    session.step(staged, MicroStep(staged.positions * size, 1, True, False))
    loss = session.read_metrics()["loss"]
    if rank == 0:
        print(json.dumps({"at": time.time() * 1000, "loss": loss}), flush=True)
    torch.cuda.synchronize() if torch.cuda.is_available() else None
    leave()
    sys.stdout.flush()
    os._exit(0)


main()
