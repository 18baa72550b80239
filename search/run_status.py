"""How far a run is, and what its stages cost and saved."""

from __future__ import annotations

import dataclasses
import fcntl
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from litefront.search.cell_record import CellState
from litefront.search.convergence import LatestGain, hypervolume_curve, latest_gain
from litefront.search.front import pareto_front
from litefront.search.ledger import gate_savings, totals_by_stage
from litefront.search.membership import SURE, front_probabilities
from litefront.search.study_results import StudyResults

__all__ = [
    "block_curve",
    "gain_text",
    "gate_texts",
    "savings_text",
    "seconds_per_cell",
    "stage_rows",
    "status_row",
    "status_texts",
]

_BLOCKS = "▁▂▃▄▅▆▇█"


def status_row(results: StudyResults) -> dict[str, Any]:
    """The run in one row of plain values."""
    states = Counter(record.state for record in results.records)
    budget = results.spec.budget.cells
    front = pareto_front(results.measured, results.spec.chosen_objectives())
    probabilities = front_probabilities(results.measured, results.spec)
    curve = hypervolume_curve(results)
    gain = latest_gain(curve)
    return {
        "study": results.spec.study,
        "directory": str(results.directory.path),
        "running": _is_running(results),
        "measured": states[CellState.MEASURED],
        "rejected": states[CellState.REJECTED],
        "failed": states[CellState.FAILED],
        "target": results.context.cells if budget is None else min(budget, results.context.cells),
        "front": len(front),
        "uncertain": sum(probabilities[record.cell] < SURE for record in front),
        "hypervolume": round(curve[-1], 4) if curve else None,
        "curve": [round(volume, 4) for volume in curve],
        "latest_gain": None if gain is None else dataclasses.asdict(gain),
        "seconds_per_cell": seconds_per_cell(results),
        "started": results.context.started_at,
        "last_cell": max((record.finished_at for record in results.records), default=None),
    }


def status_texts(row: Mapping[str, Any]) -> dict[str, str]:
    """A `status_row` as a person reads it: texts by their names."""
    curve, gain = row["curve"], row["latest_gain"]
    texts = {
        "uncertain": f"{row['uncertain']} of them, with a probability below {SURE:.0%}",
        "curve": f"{curve[0]:g} {block_curve(curve)} {curve[-1]:g}" if curve else "",
        "latest_gain": gain_text(LatestGain(**gain), row["seconds_per_cell"]) if gain else "too few cells to say",
    }
    shown = (name for name in row if name != "seconds_per_cell")
    return {name: texts.get(name, "" if row[name] is None else str(row[name])) for name in shown}


def gain_text(gain: LatestGain, seconds_per_cell: float | None) -> str:
    """What the latest cells added, and what more budget is expected to buy."""
    takes = ""
    if seconds_per_cell is not None:
        seconds = gain.cells * seconds_per_cell
        takes = f", about {seconds / 60:.0f} min," if seconds >= 90 else f", about {seconds:.0f} s,"
    return (
        f"the last {gain.cells} cells added {gain.share:.2%} of the hypervolume; "
        f"{gain.cells} more{takes} are not expected to add more than that"
    )


def seconds_per_cell(results: StudyResults) -> float | None:
    """Mean time from one measured cell of the latest run to the next, with all that was rejected or failed meanwhile.

    None if the latest run has measured none.
    """
    started = datetime.fromisoformat(results.context.started_at)
    finished = [datetime.fromisoformat(record.finished_at) for record in results.measured if record.finished_at]
    since = [time for time in finished if time > started]
    return (max(since) - started).total_seconds() / len(since) if since else None


def block_curve(values: Sequence[float], *, width: int = 60) -> str:
    """Values as one line of block characters, the lowest value as the lowest block."""
    places = np.linspace(0, len(values) - 1, min(width, len(values))).round().astype(int)
    chosen = np.asarray(values, dtype=float)[places]
    low, high = chosen.min(), chosen.max()
    heights = (chosen - low) / (high - low) if high > low else np.zeros(len(chosen))
    return "".join(_BLOCKS[round(height * (len(_BLOCKS) - 1))] for height in heights)


def stage_rows(results: StudyResults) -> list[dict[str, Any]]:
    """What each stage cost and saved, all runs of the study together."""
    return [
        {
            "stage": stage,
            "runs": totals.runs,
            "hits": totals.hits,
            "failures": totals.failures,
            "seconds_spent": round(totals.seconds_spent, 1),
            "seconds_saved": round(totals.seconds_saved, 1),
            "repeated": totals.repeated,
        }
        for stage, totals in totals_by_stage(results.ledger).items()
    ]


def savings_text(results: StudyResults) -> str:
    """What the stages cost, what results that were there already saved, and what each gate spared; a line each."""
    totals = totals_by_stage(results.ledger).values()
    stages = (
        f"stages: {sum(t.runs for t in totals)} runs in {sum(t.seconds_spent for t in totals):.0f} s, "
        f"{sum(t.hits for t in totals)} hits that saved {sum(t.seconds_saved for t in totals):.0f} s, "
        f"{sum(t.repeated for t in totals)} run twice, {sum(t.failures for t in totals)} failed"
    )
    return "\n".join([stages, *gate_texts(results)])


def gate_texts(results: StudyResults) -> list[str]:
    """One line a gate: what it rejected, and what that spared."""
    return [
        f"gate {gate}: {spared.rejected} rejected, which spared {spared.stages} stages of about {spared.seconds:.0f} s"
        for gate, spared in gate_savings(results.records, results.ledger).items()
    ]


def _is_running(results: StudyResults) -> bool:
    """Whether a process holds the run directory's lock."""
    path = results.directory.path / "lock"
    if not path.exists():
        return False
    with open(path, encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
