"""A run that is killed with SIGKILL at random moments, again and again, and still loses and repeats nothing.

Half of the runs build on Ray's workers, half in the driver itself; the moments are seeded.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from typing import Any

from harness.figures import figure
from harness.litefront_runs import end_group, litefront_run, run_to_its_end
from harness.shared_runs import SharedRuns
from harness.tiny_study import write_tiny_study

from litefront.search.cell_record import CellState
from litefront.search.run_directory import RunDirectory, read_json_lines

__all__ = ["measure"]

_SEED = 0
_POLL_S = 0.1
# Every fourth kill comes while the run is starting, the others some seconds after its first stage.
_WHILE_STARTING_S, _AFTER_FIRST_STAGE_S = 4.0, 20.0


def measure(runs: SharedRuns) -> None:
    """Prints what the kills lost and what was done twice."""
    study = write_tiny_study(runs.folder / "studies" / "kills", runs.extent.tiny_space)
    directory = RunDirectory(runs.folder / "kills")
    seen: set[str] = set()
    kills = 0
    random_moments = random.Random(_SEED)
    while kills < runs.extent.kills:
        options = ("--serial",) if kills % 2 else ()
        with litefront_run(study, directory.path, *options) as process:
            if kills % 4 == 3:
                killed = _kill(process, random_moments.uniform(0.0, _WHILE_STARTING_S))
            else:
                _wait_for_a_stage(process, directory)
                killed = _kill(process, random_moments.uniform(0.0, _AFTER_FIRST_STAGE_S))
        seen |= {line["record"]["cell"] for line in read_json_lines(directory.cells)}
        if not killed:
            break
        kills += 1
    run_to_its_end(study, directory.path)
    _tell(directory, seen, kills, runs.extent.kills)


def _wait_for_a_stage(process: subprocess.Popen[bytes], directory: RunDirectory) -> None:
    """Waits until this run has noted a stage, run or reused."""
    before = len(read_json_lines(directory.stages))
    while process.poll() is None and len(read_json_lines(directory.stages)) == before:
        time.sleep(_POLL_S)


def _kill(process: subprocess.Popen[bytes], after_s: float) -> bool:
    """Kills the run and its group after so many seconds; says False if it had come to its end before."""
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        end_group(process)
        return True
    return False


def _tell(directory: RunDirectory, seen: set[str], kills: int, intended: int) -> None:
    records = [line["record"] for line in read_json_lines(directory.cells)]
    cells = {record["cell"] for record in records}
    twice = [record["cell"] for record in _finished_twice(records)]
    runs = Counter(line["key"] for line in read_json_lines(directory.stages) if line["event"] == "run")
    stages_twice = sum(count > 1 for count in runs.values())
    figure("kills at random moments", kills, "kills", f"{intended}", kills == intended)
    figure("cells after the kills", {"before the last run": len(seen), "in the end": len(cells)}, "", "", None)
    figure("finished cells lost by the kills", len(seen - cells), "cells", "0", not seen - cells)
    figure("cells finished twice", len(twice), "cells", "0", not twice)
    figure("stages run twice", stages_twice, "stages", "0", stages_twice == 0)


def _finished_twice(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of cells that had been finished before, other than with more timings: those were asked for."""
    timings: dict[str, int] = {}
    repeated = []
    for record in records:
        if record["state"] == CellState.FAILED:
            continue  # tried again by the next run, as it should be
        taken = len(record["facts"].get("timings", ()))
        if record["cell"] in timings and taken <= timings[record["cell"]]:
            repeated.append(record)
        timings[record["cell"]] = taken
    return repeated
