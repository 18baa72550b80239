"""The front for people and other tools: as text, and as the JSON and CSV files that a run leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from litefront.search.cell_record import CellRecord
from litefront.search.confirmation import latency_text
from litefront.search.front import hypervolume, pareto_front
from litefront.search.membership import Standing, standings
from litefront.search.run_directory import write_atomically
from litefront.search.study_results import StudyResults
from litefront.search.tables import OutputFormat, front_table, record_row, render

__all__ = ["front_content", "front_rows", "front_text", "write_front"]


def front_text(results: StudyResults) -> str:
    """The front as a table, and below it what cannot be told apart from its cells."""
    objectives = results.spec.chosen_objectives()
    front = pareto_front(results.measured, objectives)
    if not front:
        return "no cell is measured yet"
    known = standings(results.measured, results.spec)
    table = front_table(front, results.baseline, objectives, known, _confirmed_texts(front, results))
    return "\n".join([table, *_tie_lines(front, results.measured, known)])


def front_rows(results: StudyResults) -> list[dict[str, Any]]:
    """The front's cells as rows of plain values, with every figure that was obtained and how sure their place is.

    `p_front` is the probability of being on the front, `timings` says how often the latency was measured, `ties` lists
    the labels of the cells that cannot be told apart from this one, on the front by value or not, and `confirmed` holds
    what measuring the cell again gave, if anybody did.
    """
    front = pareto_front(results.measured, results.spec.chosen_objectives())
    return _rows(front, results, standings(results.measured, results.spec))


def front_content(results: StudyResults) -> dict[str, Any]:
    """What `front.json` holds."""
    objectives, baseline = results.spec.chosen_objectives(), results.baseline
    front = pareto_front(results.measured, objectives)
    known = standings(results.measured, results.spec)
    members = {record.cell for record in front}
    tied = [record for record in results.measured if known[record.cell].ties and record.cell not in members]
    return {
        "study": results.spec.study,
        "objectives": [{"name": o.name, "figure": o.figure, "direction": o.direction.value} for o in objectives],
        "hypervolume": hypervolume(results.measured, baseline, results.spec) if baseline else None,
        "baseline": record_row(baseline, None, sorted(baseline.figures)) if baseline else None,
        "front": _rows(front, results, known),
        "ties": _rows(tied, results, known),
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


def _rows(records: Iterable[CellRecord], results: StudyResults, known: Mapping[str, Standing]) -> list[dict[str, Any]]:
    labels = _labels(results.measured)

    def row(record: CellRecord) -> dict[str, Any]:
        standing = known[record.cell]
        return record_row(record, results.baseline, sorted(record.figures)) | {
            "p_front": standing.probability,
            "timings": standing.timings,
            "ties": [labels[cell] for cell in standing.ties],
            "confirmed": _confirmed(record, results),
        }

    return [row(record) for record in records]


def _tie_lines(
    front: Sequence[CellRecord], measured: Iterable[CellRecord], known: Mapping[str, Standing]
) -> Iterator[str]:
    """A line for each member that has ties; a pair of members is named once."""
    labels = _labels(measured)
    told: set[str] = set()
    for record in front:
        told.add(record.cell)
        ties = [cell for cell in known[record.cell].ties if cell not in told]
        if ties:
            named = ", ".join(f"{labels[cell]} ({known[cell].probability:.0%})" for cell in ties)
            yield f"≈ {labels[record.cell]}: not to be told apart from {named}"


def _labels(records: Iterable[CellRecord]) -> dict[str, str]:
    return {record.cell: record.label() for record in records}


def _confirmed(record: CellRecord, results: StudyResults) -> dict[str, Any]:
    """The confirmed latency and its mode; empty if the cell was not measured again."""
    confirmation = results.confirmations.get(record.cell)
    if confirmation is None:
        return {}
    values = {name: confirmation.figures[name].value for name in ("latency_ms", "latency_p90_ms")}
    return {"mode": confirmation.mode.value, **values, "noisy": confirmation.noisy}


def _confirmed_texts(front: Iterable[CellRecord], results: StudyResults) -> dict[str, str]:
    """The confirmed latency of each cell that was measured again, by cell."""
    found = {record.cell: results.confirmations.get(record.cell) for record in front}
    return {cell: f"{latency_text(known.figures)} ({known.mode})" for cell, known in found.items() if known}
