"""The runs of the studies whose compression is told, each made once, and their cells as shares of the baseline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from harness.litefront_runs import run_to_its_end
from litefront.search.cell_record import CellRecord
from litefront.search.front import pareto_front
from litefront.search.run_directory import RunDirectory
from litefront.search.study_file import ready_made_studies
from litefront.search.study_results import StudyResults

__all__ = ["CompressedRun", "Member", "run_study"]


@dataclass(frozen=True)
class Member:
    """A cell beside its baseline, measured on the same delegate, threads and batch.

    Attributes:
        record: The cell.
        size: Its file, as a share of the baseline's.
        latency: Its latency, likewise.
        lost: Accuracy that it lost against the baseline, as a fraction of all rows; below 0 where it gained.
        lost_share: The same as a share of the baseline's accuracy.
        on_front: Whether no other cell of the study beats it.
    """

    record: CellRecord
    size: float
    latency: float
    lost: float
    lost_share: float
    on_front: bool

    def words(self) -> dict[str, Any]:
        """The member as plain values."""
        return {
            "cell": self.record.label(),
            "size": round(self.size, 4),
            "latency": round(self.latency, 4),
            "points lost": round(100 * self.lost, 2),
            "on the front": self.on_front,
        }


@dataclass(frozen=True)
class CompressedRun:
    """A finished run.

    Attributes:
        results: What it found.
        seconds: What it took, from the start of its process to its end; None for one that was begun before.
    """

    results: StudyResults
    seconds: float | None

    @cached_property
    def baseline(self) -> CellRecord:
        """The float model as it is."""
        assert self.results.baseline is not None, "a finished run has its baseline"
        return self.results.baseline

    @cached_property
    def front(self) -> list[CellRecord]:
        """The study's Pareto front."""
        return pareto_front(self.results.measured, self.results.spec.chosen_objectives())

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """The measured cells that run as the baseline does."""
        return tuple(self._members())

    def _members(self) -> Iterator[Member]:
        front = {record.cell for record in self.front}
        base = self.baseline
        for record in self.results.measured:
            if _runs_like(record, base):
                lost = base.value("accuracy") - record.value("accuracy")
                yield Member(
                    record,
                    size=record.value("size_bytes") / base.value("size_bytes"),
                    latency=record.value("latency_ms") / base.value("latency_ms"),
                    lost=lost,
                    lost_share=lost / base.value("accuracy"),
                    on_front=record.cell in front,
                )


def run_study(name: str, folder: Path, *, changes: Mapping[str, Any] | None = None, as_name: str = "") -> CompressedRun:
    """Runs a ready-made study, or takes its run from the folder.

    Args:
        name: The study.
        folder: Where runs are kept; one that is there is taken to its end, if it is not there yet.
        changes: What is different in the study file, by its first keys; those of a mapping are changed one by one.
        as_name: What the changed study's run is called.
    """
    run_dir = folder / (as_name or name)
    timing = folder / f"{run_dir.name}.json"
    if not timing.exists():
        continued = run_dir.exists()
        study = name if changes is None else str(_changed(name, changes, folder / "studies" / run_dir.name))
        seconds = run_to_its_end(study, run_dir)
        timing.write_text(json.dumps({"seconds": None if continued else seconds}), encoding="utf-8")
    return CompressedRun(StudyResults.read(RunDirectory(run_dir)), **json.loads(timing.read_text(encoding="utf-8")))


def _changed(name: str, changes: Mapping[str, Any], folder: Path) -> Path:
    """A copy of a ready-made study with changes."""
    source = ready_made_studies()[name]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source.parent, folder)
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    for key, value in changes.items():
        content[key] = content[key] | value if isinstance(value, dict) and value else value
    (folder / source.name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


def _runs_like(record: CellRecord, baseline: CellRecord) -> bool:
    ours, theirs = record.config, baseline.config
    return (ours.delegate, ours.num_threads, ours.batch_size) == (
        theirs.delegate,
        theirs.num_threads,
        theirs.batch_size,
    )
