"""LiteRT's own benchmark: its console script, and the same code at full precision beside the runner in one process.

As a script it answers `MODEL ROWS RUNS PAIRS`, with a line of JSON: pairs of medians in ms, the runner's and LiteRT's.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from litefront.objectives.devices import Candidate
from litefront.objectives.latency import measure_latency
from litefront.objectives.runner import ACTIONS
from litefront.objectives.timing import Timing

__all__ = ["litert_p50_ms", "pairs_in_one_process"]

_WARM_UP_RUNS = 20


def litert_p50_ms(candidate: Candidate, runs: int) -> float:
    """The median of a model's calls by `litert-benchmark`, in ms, which that rounds to 0.01."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        command = [
            str(Path(sys.executable).with_name("litert-benchmark")),
            f"--model={candidate.model}",
            f"--num_threads={candidate.config.num_threads}",
            f"--num_runs={runs}",
            f"--warmup_runs={_WARM_UP_RUNS}",
            f"--result_json={result}",
        ]
        subprocess.run(command, check=True, capture_output=True)
        return float(json.loads(result.read_text(encoding="utf-8"))["latency"]["median_ms"])


def pairs_in_one_process(candidate: Candidate, rows: Path, runs: int, pairs: int) -> list[tuple[float, float]]:
    """Medians in ms by the runner and by `litert-benchmark`, taken in turn by one process, at full precision."""
    command = [sys.executable, __file__, str(candidate.model), str(rows), str(runs), str(pairs)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [(ours, theirs) for ours, theirs in json.loads(done.stdout.splitlines()[-1])]


def _main() -> None:
    model, rows, runs, pairs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    taken = [(_ours(model, rows), _theirs(model, runs)) for _ in range(pairs)]
    print(json.dumps(taken))


def _ours(model: str, rows: str) -> float:
    request = {"model": model, "inputs": rows, "delegate": "xnnpack", "num_threads": 1, "reference": None}
    reply = ACTIONS["benchmark"](request | {"timing": Timing(cold_starts=0).to_json()})
    return measure_latency([reply["rounds"]], batch_size=1)["latency_ms"].value


def _theirs(model: str, runs: int) -> float:
    from ai_edge_litert.tools import benchmark_litert_model as tool

    # The tool's own code, but for the two digits that it rounds to.
    unrounded: Any = tool
    unrounded.round = lambda value, _digits: value
    options = {"model": model, "num_runs": runs, "warmup_runs": _WARM_UP_RUNS, "num_threads": 1}
    switches = dict.fromkeys(("use_npu", "use_gpu", "no_cpu", "require_full_delegation", "verbose"), False)
    paths = dict.fromkeys(
        ("signature", "dispatch_library_path", "compiler_plugin_path", "runtime_path", "result_json"), ""
    )
    with contextlib.redirect_stdout(io.StringIO()):
        return float(tool.run_benchmark(SimpleNamespace(**options, **switches, **paths))["latency"]["median_ms"])


if __name__ == "__main__":
    _main()
