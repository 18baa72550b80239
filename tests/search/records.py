"""Hand-made records and results: figures that a reader can follow, and no run behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from litefront.objectives.measurement import Measurement, Provenance
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.run_directory import JsonLineAppender, RunDirectory
from litefront.search.store import StageRecord
from litefront.search.study_results import StudyContext, StudyResults
from litefront.search.study_spec import StudySpec
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig

UNITS = {
    "accuracy": "fraction",
    "size_bytes": "bytes",
    "download_bytes": "bytes",
    "latency_ms": "ms",
    "throughput_per_s": "1/s",
    "power_mw": "mW",
    "energy_mj": "mJ",
}
CONTEXT = StudyContext(
    digest="context-1",
    device={"kind": "host", "cores": 2},
    versions={"ai-edge-litert": "2.3.0"},
    model={"format": "keras", "metric": "top1"},
    baseline=BASELINE.params(),
    cells=4,
    configurations=6,
    refusals={"too many threads": 2},
    started_at="2025-01-01T00:00:00+00:00",
)

FLOAT_ANSWERS = StageRecord("reference", "k", {"outputs": "float answers"}, {}, 1.0)


def make_record(
    cell: str = "a",
    *,
    config: DeploymentConfig | None = None,
    state: CellState = CellState.MEASURED,
    facts: Mapping[str, Any] | None = None,
    **values: float,
) -> CellRecord:
    """A cell's record with the figures named by the keywords, such as `latency_ms=2.0`.

    Without `facts` one core was busy and the model fits the cache, so that power follows from the latency alone.
    """
    return CellRecord(
        cell=cell,
        config=config or DeploymentConfig(),
        state=state,
        device="host",
        figures={
            name: Measurement(value, UNITS[name], Provenance.MEASURED, "made by hand") for name, value in values.items()
        },
        facts={"busy_cores": 1.0, "last_level_cache_bytes": 10**9} if facts is None else facts,
        reason=None if state is CellState.MEASURED else "made to fail",
    )


def timing(latency_ms: float, half_width: float = 0.0, *, disturbed: bool = False) -> dict[str, Any]:
    """One entry of a record's timings."""
    return {"latency_ms": latency_ms, "half_width": half_width, "disturbed": disturbed}


def make_timed_record(cell: str, *timings: dict[str, Any], **values: float) -> CellRecord:
    """A record with these timings, and their geometric mean as its latency."""
    latency_ms = float(np.exp(np.mean([np.log(entry["latency_ms"]) for entry in timings])))
    record = make_record(cell, latency_ms=latency_ms, **values)
    return replace(record, facts={**record.facts, "timings": list(timings)})


def make_spec(**keys: Any) -> StudySpec:
    """A study of three objectives over a space of 32 configurations; `keys` are those of a study file."""
    study: dict[str, Any] = {
        "study": "by-hand",
        "task": "task.py:task",
        "space": {
            "quantization": ["float32", "int8"],
            "delegate": ["none", "xnnpack"],
            "num_threads": [1, 2],
            "batch_size": [1, 4],
            "sparsity": [0.0, 0.5],
        },
        "objectives": ["accuracy", "size", "latency"],
    }
    return StudySpec.model_validate(study | keys)


def make_results(records: Sequence[CellRecord], *, directory: Path = Path("nowhere"), **keys: Any) -> StudyResults:
    """Results of a study with these records; `keys` are those of a study file."""
    return StudyResults(RunDirectory(directory), make_spec(**keys), CONTEXT, tuple(records), ())


def append_json_line(path: Path, line: Mapping[str, Any]) -> None:
    """Adds one line to a file as a run does."""
    with JsonLineAppender(path) as lines:
        lines.append(line)
