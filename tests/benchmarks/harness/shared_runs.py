"""The runs of the demo study that several figures are taken from, each made once, and how far they are taken."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from harness.litefront_runs import run_to_its_end
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.study_file import StudyFile, read_study_file, ready_made_studies
from litefront.search.study_results import StudyResults
from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["FULL", "QUICK", "Extent", "SharedRuns", "TimedRun"]


@dataclass(frozen=True)
class Extent:
    """How far the benchmark goes.

    Attributes:
        space: Changes to the demo study's space.
        budget: Cells of a search that does not look at every cell.
        long_run_s: A run that takes this long can be held against its lower bound.
        baseline_min_s: The least time that the search to compare with is given.
        baseline_max_s: The most.
        engine_cells: Numbers of cells at which the engine's cost is told.
        engine_max_s: After this the made-up study ends.
        kills: Times that a run is killed.
        tiny_space: Changes to the space of the tiny study, which is killed.
        seeds: Seeds of a replayed search.
    """

    space: dict[str, Any]
    budget: int
    long_run_s: float
    baseline_min_s: float
    baseline_max_s: float
    engine_cells: tuple[int, ...]
    engine_max_s: float
    kills: int
    tiny_space: dict[str, Any]
    seeds: int


FULL = Extent(
    space={},
    budget=60,
    long_run_s=600,
    baseline_min_s=1200,
    baseline_max_s=1800,
    engine_cells=(100, 1_000, 3_000, 10_000),
    engine_max_s=900,
    kills=20,
    tiny_space={},
    seeds=20,
)
QUICK = Extent(
    space={"sparsity": [0.0, 0.75], "quantization": ["float32", "dynamic_int8", "int8"], "num_threads": [1]},
    budget=8,
    long_run_s=0,
    baseline_min_s=60,
    baseline_max_s=90,
    engine_cells=(100, 300),
    engine_max_s=120,
    kills=2,
    tiny_space={"sparsity": [0.0, 0.5], "quantization": ["float32", "float16", "int8"]},
    seeds=3,
)


@dataclass(frozen=True)
class TimedRun:
    """A finished `litefront run`.

    Attributes:
        results: What it found.
        started_at: When its process was started, seconds since the epoch.
        seconds: What it took, from the start of its process to its end.
    """

    results: StudyResults
    started_at: float
    seconds: float

    def found(self) -> list[tuple[float, DeploymentConfig]]:
        """When each cell was first finished, in seconds from the start of the process, in that order."""
        lines = read_json_lines(self.results.directory.cells)
        first: dict[DeploymentConfig, float] = {}
        for record in (line["record"] for line in lines):
            at = _seconds_since_epoch(record["finished_at"]) - self.started_at
            first.setdefault(DeploymentConfig.from_params(record["config"]), at)
        return sorted(((at, config) for config, at in first.items()), key=lambda pair: pair[0])


class SharedRuns:
    """Makes the runs when they are first asked for; those that a folder already holds are taken from there.

    Args:
        folder: Where they are kept.
        extent: How far they go.
    """

    def __init__(self, folder: Path, extent: Extent) -> None:
        self.folder = folder
        self.extent = extent

    @cached_property
    def exhaustive(self) -> TimedRun:
        """Every cell of the study."""
        return self._run("exhaustive", {"budget": {}})

    @cached_property
    def larger(self) -> TimedRun:
        """Every cell of the study with two more sparsities."""
        return self._run("larger", {"budget": {}, "space": {"sparsity": [0.0, 0.25, 0.5, 0.625, 0.75, 0.875]}})

    @cached_property
    def budgeted(self) -> TimedRun:
        """A search of the study as it is."""
        return self.search("budgeted", seed=0)

    def search(self, name: str, *, seed: int) -> TimedRun:
        """A search of the study with a seed, in an empty directory of this name."""
        return self._run(name, {"budget": {"cells": self.extent.budget}, "seed": seed})

    def study(self, name: str, changes: dict[str, Any]) -> StudyFile:
        """Writes the demo study with changes (choices of the space among them) and its task into such a folder."""
        folder = self.folder / "studies" / name
        source = ready_made_studies()["mnist"]
        if not folder.exists():
            shutil.copytree(source.parent, folder)
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
        space = content["space"] | self.extent.space | changes.get("space", {})
        (folder / source.name).write_text(yaml.safe_dump(content | changes | {"space": space}), encoding="utf-8")
        return read_study_file(str(folder))

    def _run(self, name: str, changes: dict[str, Any]) -> TimedRun:
        folder, timing = self.folder / name, self.folder / f"{name}.json"
        if not timing.exists():
            shutil.rmtree(folder, ignore_errors=True)
            study = self.study(name, changes)
            started_at = time.time()
            seconds = run_to_its_end(str(study.folder), folder)
            timing.write_text(json.dumps({"started_at": started_at, "seconds": seconds}), encoding="utf-8")
        return TimedRun(StudyResults.read(RunDirectory(folder)), **json.loads(timing.read_text(encoding="utf-8")))


def _seconds_since_epoch(iso_time: str) -> float:
    return datetime.fromisoformat(iso_time).timestamp()
