"""The child of a capture by vLLM with an engine that needs no vLLM: its pipes, its end and its files are the real ones.

A sample whose first token is 666 ends the process, one of 13 is refused, and one of 7 never gets an answer.
"""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "python" / "vllm_child"))
import extract_states  # noqa: E402


class StandIn:
    def __init__(self, given: dict[str, Any]) -> None:
        print("noise on stdout")
        os.system("echo noise of a child process")
        if given["args"].get("fail"):
            raise ValueError("no such engine argument: fail")
        self._scratch = Path(given["scratch"])
        self._begun: list[dict[str, Any]] = []
        self.is_idle = True

    def begin(self, sample: dict[str, Any]) -> dict[str, Any] | None:
        first = sample["ids"][0]
        if first == 666:
            print("the last words", file=sys.stderr, flush=True)
            os._exit(3)
        if first == 13:
            return {"id": sample["id"], "error": "too long"}
        if first != 7:
            self._begun.append(sample)
        return None

    def step(self) -> list[dict[str, Any]]:
        return [self._written(sample) for sample in self._drained()]

    def _drained(self) -> list[dict[str, Any]]:
        begun, self._begun = self._begun, []
        return begun

    def _written(self, sample: dict[str, Any]) -> dict[str, Any]:
        print("noise between replies")
        file = self._scratch / f"{sample['id']}.safetensors"
        secrets = [name for name in ("DRAFTBRIDGE_STORE_KEY", "PYTHONPATH") if name in os.environ]
        file.write_text(json.dumps({"ids": sample["ids"], "secrets": secrets}))
        logprobs = [[[1, -0.5]]] if sample["logprobs"] else None
        return {"id": sample["id"], "file": str(file), "logprobs": logprobs}


sys.modules["vllm"] = types.ModuleType("vllm")
sys.modules["vllm"].__version__ = "0.0.0"  # type: ignore[attr-defined]
extract_states.StateWriter = StandIn  # type: ignore[assignment,misc]
extract_states.main()
