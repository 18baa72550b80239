"""The files that a run leaves for people and other tools: the front as JSON and CSV, and the report."""

from __future__ import annotations

from typing import Any

from litefront.search.front import hypervolume, pareto_front
from litefront.search.run_directory import write_atomically
from litefront.search.study_results import StudyResults
from litefront.search.tables import OutputFormat, record_row, render

__all__ = ["front_content", "front_rows", "write_front"]


def front_rows(results: StudyResults) -> list[dict[str, Any]]:
    """The front's cells as rows of plain values, with every figure that was obtained."""
    front = pareto_front(results.measured, results.spec.chosen_objectives())
    return [record_row(record, results.baseline, sorted(record.figures)) for record in front]


def front_content(results: StudyResults) -> dict[str, Any]:
    """What `front.json` holds."""
    rows = front_rows(results)
    baseline = results.baseline
    return {
        "study": results.spec.study,
        "objectives": [
            {"name": o.name, "figure": o.figure, "direction": o.direction.value}
            for o in results.spec.chosen_objectives()
        ],
        "hypervolume": hypervolume(results.measured, baseline, results.spec) if baseline else None,
        "baseline": record_row(baseline, None, sorted(baseline.figures)) if baseline else None,
        "front": rows,
    }


def write_front(results: StudyResults) -> None:
    """Writes `front.json` and `front.csv` into the run directory.

    Raises:
        StoreError: If the disk does not take them.
    """
    import json

    directory = results.directory
    write_atomically(directory.front_json, json.dumps(front_content(results), indent=1) + "\n")
    write_atomically(directory.front_csv, render(front_rows(results), OutputFormat.CSV) + "\n")
