"""What a newcomer's first run costs and gives: the demo study from an empty run directory, then killed and resumed.

Run alone: `.venv/bin/python tests/benchmarks/first_run.py`. One line of JSON a figure, the machine first. It takes
about ten minutes: a whole run, and a second one that is killed with SIGKILL in the middle and resumed.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from harness.figures import figure, machine
from harness.litefront_runs import end_group, litefront_run, run_and_watch, run_to_its_end

from litefront.search.front import pareto_front
from litefront.search.ledger import totals_by_stage
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.study_results import StudyResults
from litefront.spaces.quantization import Quantization


def main() -> None:
    """Prints every figure of the first run."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole"
        machine()
        seconds, peak_bytes = run_and_watch("mnist", whole)
        results = StudyResults.read(RunDirectory(whole))
        figure("whole run of the demo study", round(seconds), "s", "<= 360", seconds <= 360)
        figure("peak memory of all its processes", round(peak_bytes / 2**30, 2), "GiB", "< 6", peak_bytes < 6 * 2**30)
        tell_cells(results)
        tell_stages(results)
        kill_and_resume(Path(scratch) / "killed")


def tell_cells(results: StudyResults) -> None:
    """How many cells, how varied the front is, and whether int8 pays."""
    front = pareto_front(results.measured, results.spec.chosen_objectives())
    combinations = {(record.config.quantization, record.config.sparsity) for record in front}
    figure("cells", len(results.records), "cells", ">= 40", len(results.records) >= 40)
    figure("quantization x sparsity on the front", len(combinations), "combinations", ">= 6", len(combinations) >= 6)
    baseline = results.baseline
    assert baseline is not None, "a finished run has its baseline"
    int8 = (Quantization.INT8, Quantization.DYNAMIC_INT8)
    points = [
        {
            "label": record.config.label(),
            "size": round(record.value("size_bytes") / baseline.value("size_bytes"), 3),
            "latency": round(record.value("latency_ms") / baseline.value("latency_ms"), 3),
            "points lost": round(100 * (baseline.value("accuracy") - record.value("accuracy")), 2),
        }
        for record in results.measured
        if record.config.quantization in int8
    ]
    good = [p for p in points if p["size"] <= 0.28 and p["latency"] <= 0.40 and p["points lost"] <= 1]
    best = min(good or points, key=lambda point: point["latency"])
    figure("best int8 cell", best, "relative", "size <= 0.28, latency <= 0.40, at most 1 point lost", bool(good))


def tell_stages(results: StudyResults) -> None:
    """What ran, what was reused, what that saved, and that nothing ran twice."""
    totals = totals_by_stage(results.ledger)
    for stage, entry in totals.items():
        value = {"runs": entry.runs, "hits": entry.hits, "seconds_saved": round(entry.seconds_saved, 1)}
        figure(f"stage {stage}", value, "", "no stage run twice", entry.repeated == 0)


def kill_and_resume(folder: Path) -> None:
    """Kills a run in the middle, and runs the same command again."""
    with litefront_run("mnist", folder) as process:
        while len(read_json_lines(folder / "cells.jsonl")) < 12:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.2)
        end_group(process)
    before = read_json_lines(folder / "cells.jsonl")
    run_to_its_end("mnist", folder)
    results = StudyResults.read(RunDirectory(folder))
    records = [line["record"] for line in read_json_lines(folder / "cells.jsonl")]
    # What is measured again on purpose at the end says so.
    cells = [record["cell"] for record in records if not record["facts"].get("remeasured")]
    lost = len([line for line in before if line["record"]["cell"] not in cells])
    repeated = sum(entry.repeated for entry in totals_by_stage(results.ledger).values())
    figure("finished cells lost by kill -9", lost, "cells", "0", lost == 0)
    figure("cells finished twice", len(cells) - len(set(cells)), "cells", "0", len(cells) == len(set(cells)))
    figure("stages run twice", repeated, "stages", "0", repeated == 0)
    figure("cells at the end of the resumed run", len(set(cells)), "cells", ">= 40", len(set(cells)) >= 40)


if __name__ == "__main__":
    main()
