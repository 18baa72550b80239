"""litefront against the search that one would write with Ray Tune instead; see `baselines/ray_tune_search.py`.

Both search the same choices with the same steps, one after the other on the same machine. The other search is given
the trained base model, so litefront's training of it does not count in either's time; all else does, from the start of
the process. Distinct cells an hour are those up to a search's last new cell: what litefront measures again after it
makes figures surer, and no cell more.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from baselines import ray_tune_search
from harness.coverage import seconds_to_cover, share_covered
from harness.figures import figure
from harness.litefront_runs import started
from harness.shared_runs import SharedRuns, TimedRun

from litefront.search.cell_record import CellState
from litefront.search.run_directory import read_json_lines
from litefront.search.store import ArtifactStore
from litefront.search.study_results import StudyResults
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.search_space import canonical

__all__ = ["measure"]


_POLL_S = 10.0


def measure(runs: SharedRuns) -> None:
    """Prints how many distinct cells an hour each search finishes, and how soon each has found the front."""
    exhaustive = runs.exhaustive
    tuned = _run_baseline(runs, exhaustive.results)
    _tell_baseline(tuned)
    _tell_rate(_cells_an_hour(_found(exhaustive)), _cells_an_hour(tuned.found))
    _tell_cover(seconds_to_cover(_found(runs.budgeted), exhaustive.results), tuned, exhaustive.results)


Found = Sequence[tuple[float, DeploymentConfig]]
"""When each cell was finished, in seconds; repeats may be among them."""


def _found(run: TimedRun) -> Found:
    """A run's cells; without those that failed, and without the time of training the base model."""
    training_s = sum(entry.seconds for entry in run.results.ledger if (entry.stage, entry.event) == ("base", "run"))
    failed = {record.config for record in run.results.records if record.state is CellState.FAILED}
    return [(at - training_s, config) for at, config in run.found() if config not in failed]


def _cells_an_hour(found: Found) -> float:
    """Distinct cells an hour, up to the last new one."""
    first: dict[DeploymentConfig, float] = {}
    for at, config in found:
        first.setdefault(config, at)
    return len(first) / max(first.values()) * 3600 if first else 0.0


@dataclass(frozen=True)
class _Baseline:
    """What the other search did.

    Attributes:
        lines: A line a trial that ended.
        started_at: When it was started, seconds since the epoch.
        seconds: How long it ran.
    """

    lines: list[dict[str, Any]]
    started_at: float
    seconds: float

    @cached_property
    def found(self) -> Found:
        """When each trial that did not fail was finished, seconds, and its cell; repeats among them."""
        return [
            (line["at"] - self.started_at, canonical(DeploymentConfig.from_params(line["params"])))
            for line in self.lines
            if "metrics" in line
        ]

    @property
    def distinct(self) -> int:
        """Distinct cells."""
        return len({cell for _, cell in self.found})


def _run_baseline(runs: SharedRuns, exhaustive: StudyResults) -> _Baseline:
    """Runs the other search until it has found the front and its least time is over, or its longest is.

    One that the folder holds is taken from there.
    """
    trials, timing = runs.folder / "ray_tune.jsonl", runs.folder / "ray_tune.json"
    if not timing.exists():
        trials.unlink(missing_ok=True)
        study, model, hours = runs.study("ray_tune", {}), _base_model(exhaustive), runs.extent.baseline_max_s / 3600
        command = [sys.executable, ray_tune_search.__file__, study.folder, model, trials, hours]
        started_at = time.time()
        with started(command, runs.folder / "ray_tune.txt") as process:
            while process.poll() is None and not _is_enough(runs, trials, started_at, exhaustive):
                time.sleep(_POLL_S)
        timing.write_text(json.dumps({"started_at": started_at, "seconds": time.time() - started_at}), encoding="utf-8")
    return _Baseline(read_json_lines(trials), **json.loads(timing.read_text(encoding="utf-8")))


def _is_enough(runs: SharedRuns, trials: Path, started_at: float, exhaustive: StudyResults) -> bool:
    so_far = _Baseline(read_json_lines(trials), started_at, time.time() - started_at)
    covered = seconds_to_cover(so_far.found, exhaustive) is not None
    return so_far.seconds >= (runs.extent.baseline_min_s if covered else runs.extent.baseline_max_s)


def _base_model(exhaustive: StudyResults) -> Path:
    """The trained model of the exhaustive run: the other search need not train one."""
    store = ArtifactStore(exhaustive.directory.store)
    (record,) = (store.root / "stages" / "base").glob("*.json")
    base = store.find("base", record.stem)
    assert base is not None, "a finished run has its base model"
    return store.path(base.objects["model"])


def _tell_baseline(tuned: _Baseline) -> None:
    repeats = len(tuned.found) - tuned.distinct
    counts = {
        "trials": len(tuned.lines),
        "distinct cells": tuned.distinct,
        "repeats": repeats,
        "failures": len(tuned.lines) - len(tuned.found),
        "seconds": round(tuned.seconds),
    }
    figure("Ray Tune with OptunaSearch", counts, "", "", None)


def _tell_rate(ours: float, theirs: float) -> None:
    figure("distinct cells an hour, Ray Tune with OptunaSearch", round(theirs, 1), "1/h", "", None)
    figure("distinct cells an hour, litefront", round(ours), "1/h", "", None)
    ratio = ours / theirs if theirs else float("inf")
    figure("distinct cells an hour, litefront over Ray Tune", round(ratio, 1), "x", ">= 20", ratio >= 20)


def _tell_cover(ours_s: float | None, tuned: _Baseline, exhaustive: StudyResults) -> None:
    theirs_s = seconds_to_cover(tuned.found, exhaustive)
    figure("seconds to 95 % of the front, litefront", ours_s and round(ours_s), "s", "", None)
    figure("seconds to 95 % of the front, Ray Tune", theirs_s and round(theirs_s), "s", "", None)
    covered = share_covered((cell for _, cell in tuned.found), exhaustive)
    figure("share of the front that Ray Tune covered in the end", round(covered, 4), "", "", None)
    # Where the other search was ended before it got there, its time is at least that long.
    ratio = None if ours_s is None else ours_s / (theirs_s or tuned.seconds)
    bound = "" if theirs_s is not None else " or less, since Ray Tune had not reached it when it was ended"
    value = None if ratio is None else f"{ratio:.4f}{bound}"
    holds = ratio is not None and ratio <= 1 / 10
    figure("seconds to 95 % of the front, litefront over Ray Tune", value, "x", "<= 1/10", holds)
