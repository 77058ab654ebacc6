"""Runs a target in vLLM and lets it write the hidden states of samples, one safetensors file for each.

    PYTHON_OF_VLLM extract_states.py

Started by src/launch/vllm-process.ts in the interpreter that `target.vllm.python` names. So it imports vLLM and the
standard library, and nothing of draftbridge. One JSON value a line on stdin and stdout:

in   first   { model, dtype, layers, scratch, maxModelLen, args }    layers: of vLLM, which counts inputs of layers
     then    { id, ids, logprobs }    token ids of a sample; for how many tokens of each position to give logprobs
out  first   { ready: { vllm } }      the version, once the target is loaded
     then    { id, file, logprobs }   the file is whole and belongs to the reader, who removes it
             { id, error }            vLLM cannot take the sample, or could not write its file
     or      { failed, missing }      the target cannot be run; whether vLLM is missing

The end of stdin ends this process and all that it started, at once: its reader is done, or is dead.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

Json = dict[str, Any]

# Between two looks at a file that vLLM still writes while it has nothing else to do.
_POLL_SECONDS = 0.002
_ENVIRONMENT = {
    # The loop below steps the engine itself, so that a process less has to be ended.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}


def own_stdout() -> TextIO:
    """The pipe to the reader, for this process alone. What vLLM and its children print to stdout goes to stderr."""
    kept = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    return kept


class Lines:
    """Lines of stdin, read by a thread of their own, which ends everything when stdin ends."""

    def __init__(self, scratch: Path | None = None) -> None:
        self.scratch = scratch
        self._lines: queue.Queue[Json] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Json:
        return self._lines.get()

    def waiting(self) -> Iterator[Json]:
        while not self._lines.empty():
            yield self._lines.get_nowait()

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.put(json.loads(line))
        # Nobody else removes the files when the reader was killed.
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)


def connector() -> Json:
    """What writes the files: vLLM's own, or on a CPU the one beside this file, which workers of vLLM import too."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return {"kv_connector": "ExampleHiddenStatesConnector"}
    sys.path.insert(0, str(Path(__file__).parent))
    return {"kv_connector": "HostStatesConnector", "kv_connector_module_path": "host_states"}


class StateWriter:
    """vLLM with the target, and the samples that are under way in it."""

    def __init__(self, given: Json) -> None:
        from vllm import EngineArgs, LLMEngine

        speculative = {
            "method": "extract_hidden_states",
            "num_speculative_tokens": 1,
            "draft_model_config": {"hf_config": {"eagle_aux_hidden_state_layer_ids": given["layers"]}},
        }
        transfer = {
            **connector(),
            "kv_role": "kv_producer",
            "kv_connector_extra_config": {"shared_storage_path": given["scratch"]},
        }
        fixed: Json = {
            "model": given["model"],
            "dtype": given["dtype"],
            "max_model_len": given["maxModelLen"],
            "speculative_config": speculative,
            "kv_transfer_config": transfer,
            "skip_tokenizer_init": True,
        }
        # A sample needs one pass and no cache of others: graphs and compilation would only delay the first sample.
        usual: Json = {"enforce_eager": True, "enable_prefix_caching": False, "disable_log_stats": True}
        self._engine = LLMEngine.from_engine_args(EngineArgs(**{**usual, **given["args"], **fixed}))
        self._unwritten: dict[str, tuple[str | None, Any]] = {}

    @property
    def is_idle(self) -> bool:
        return not self._engine.has_unfinished_requests() and not self._unwritten

    def begin(self, sample: Json) -> Json | None:
        """Gives the sample to vLLM. Returns the reply if it is refused."""
        from vllm import SamplingParams

        wanted = sample["logprobs"] or None
        asked = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=wanted, detokenize=False)
        try:
            self._engine.add_request(str(sample["id"]), {"prompt_token_ids": sample["ids"]}, asked)
        except ValueError as exc:
            return {"id": sample["id"], "error": str(exc)[:500]}
        return None

    def step(self) -> Iterator[Json]:
        """Lets vLLM compute a batch. Yields the replies for the samples whose files are whole by then."""
        for output in self._engine.step():
            if output.finished:
                file = (output.kv_transfer_params or {}).get("hidden_states_path")
                self._unwritten[output.request_id] = (file, output.prompt_logprobs)
        for name, (file, logprobs) in list(self._unwritten.items()):
            if file is None:
                raise RuntimeError("this version of vLLM does not name the files of hidden states that it writes")
            if not is_written(file):
                continue
            del self._unwritten[name]
            if os.path.exists(file):
                yield {"id": int(name), "file": file, "logprobs": plain(logprobs)}
            else:
                yield {"id": int(name), "error": "vLLM could not write the file of the hidden states; see its log"}
        if self._unwritten and not self._engine.has_unfinished_requests():
            time.sleep(_POLL_SECONDS)


def is_written(file: str) -> bool:
    """Whether vLLM is done with `file`. Until then it holds a lock on a file beside it, which is removed here."""
    lock = f"{file}.lock"
    try:
        with open(lock) as held:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return False
    os.remove(lock)
    return True


def plain(logprobs: Any) -> list[list[list[float]]] | None:
    """For each position but the first `[token, logprob]` of its likeliest tokens and of the one that stands there."""
    if logprobs is None:
        return None
    return [[[token, one.logprob] for token, one in position.items()] for position in logprobs if position]


def main() -> None:
    out = own_stdout()

    def reply(message: Json) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    # A group of its own: Ctrl-C reaches the reader, who decides; and the group can be ended whole.
    if os.getpgid(0) != os.getpid():
        os.setsid()
    os.environ.update(_ENVIRONMENT)
    lines = Lines()
    given = lines.next()
    lines.scratch = Path(given["scratch"])
    try:
        import vllm

        writer = StateWriter(given)
    except Exception as exc:
        missing = isinstance(exc, ImportError) and (exc.name or "").split(".")[0] == "vllm"
        reply({"failed": f"{type(exc).__name__}: {str(exc).strip()[:1000]}", "missing": missing})
        raise
    reply({"ready": {"vllm": vllm.__version__}})
    while True:
        for sample in [lines.next()] if writer.is_idle else lines.waiting():
            refused = writer.begin(sample)
            if refused is not None:
                reply(refused)
        for written in writer.step():
            reply(written)


if __name__ == "__main__":
    main()
