"""What the search itself costs: asking, telling, scheduling and keeping, with stages that return at once.

A made-up study with more than 20,000 cells is driven through the real search by made-up workers, in a process of its
own. What the workers' answers take is left out; what is left is the time in which a real run's cores would wait.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml
from harness.figures import figure
from harness.shared_runs import SharedRuns
from simulation.made_up_workers import MADE_UP_FACTS, MadeUpWorkers
from simulation.simulated_search import Listener, SimulatedDevice, search

from litefront.search.cell_record import CellRecord
from litefront.search.store import ArtifactStore
from litefront.search.study_file import read_study_file
from litefront.search.task_loading import load_task

__all__ = ["measure"]

_GOAL_AT, _GOAL_MS = 1_000, 20.0

_TASK = """
import numpy as np
from litefront.search import Dataset, Task

rows = Dataset(np.zeros((20, 8), np.float32), np.zeros(20, np.int64))
task = Task(model=lambda: None, training=rows, evaluation=rows)
"""

_STUDY: dict[str, Any] = {
    "study": "made-up",
    "task": "task.py:task",
    "space": {
        "sparsity": [round(0.02 * step, 2) for step in range(40)],
        "quantization": [
            "float32",
            "float16",
            "dynamic_int8",
            "int8",
            "int16x8",
            "weight_only_int8",
            "dynamic_int4",
        ],
        "delegate": ["none", "xnnpack"],
        "num_threads": [1, 2],
        "batch_size": list(range(1, 21)),
    },
    "objectives": ["accuracy", "download", "latency", "power"],
    "load": {"samples_per_s": 30},
    "gates": {"max_accuracy_drop": 0.02},
}


def measure(runs: SharedRuns) -> None:
    """Prints the cost of a cell after so many cells, and the memory of the process that searched."""
    # As the command line has it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        ends_s, peak_bytes = process.submit(_search, max(runs.extent.engine_cells), runs.extent.engine_max_s).result()
    costs_ms = {cells: _cost_ms(ends_s, cells) for cells in runs.extent.engine_cells if cells <= len(ends_s)}
    for cells, cost_ms in costs_ms.items():
        holds = cost_ms < _GOAL_MS if cells == _GOAL_AT else None
        goal = f"< {_GOAL_MS:g}" if cells == _GOAL_AT else ""
        figure(f"the engine's own cost a cell at {cells} cells", round(cost_ms, 2), "ms", goal, holds)
    first, last = min(costs_ms), max(costs_ms)
    growth = costs_ms[last] / costs_ms[first]
    name = f"the engine's own cost a cell at {last} cells over that at {first}"
    figure(name, round(growth, 2), "x", "<= 1.5 (it does not grow)", growth <= 1.5)
    reached = {"cells": len(ends_s), "seconds": round(ends_s[-1])}
    figure("cells that the made-up study came to", reached, "", f"{max(runs.extent.engine_cells)} cells", None)
    figure("peak memory of the searching process", round(peak_bytes / 2**20), "MiB", "", None)


def _cost_ms(ends_s: list[float], cells: int) -> float:
    """Cost of a cell over the last tenth of the first `cells`."""
    window = cells // 10
    return (ends_s[cells - 1] - ends_s[cells - 1 - window]) / window * 1e3


class _Clock(Listener):
    """Notes the engine's own time at each cell.

    Args:
        workers: Whose time is left out.
    """

    def __init__(self, workers: MadeUpWorkers) -> None:
        super().__init__()
        self._workers = workers
        self._started = time.perf_counter()
        self.ends_s: list[float] = []

    def cell_finished(self, record: CellRecord) -> None:
        """Notes the time."""
        self.ends_s.append(time.perf_counter() - self._started - self._workers.seconds)


def _search(cells: int, max_s: float) -> tuple[list[float], int]:
    """Searches the made-up study; gives the engine's time at each cell and the peak memory of this process."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "task.py").write_text(_TASK, encoding="utf-8")
        (folder / "study.yaml").write_text(
            yaml.safe_dump(_STUDY | {"budget": {"cells": cells, "min_gain": 0, "remeasure": 0}}), encoding="utf-8"
        )
        study = read_study_file(str(folder))
        store = ArtifactStore(folder / "run" / "store")
        workers = MadeUpWorkers(store)
        clock = _Clock(workers)
        search(
            study.spec,
            study.spec,
            load_task(study),
            folder / "run",
            device=SimulatedDevice(MADE_UP_FACTS),
            store=store,
            workers=workers,
            listener=clock,
            stop=lambda: bool(clock.ends_s) and clock.ends_s[-1] > max_s,
        )
    return clock.ends_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
