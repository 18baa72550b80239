"""How far a run is, and what its stages cost and saved."""

from __future__ import annotations

import fcntl
from collections import Counter
from typing import Any

from litefront.search.cell_record import CellState
from litefront.search.convergence import latest_gain
from litefront.search.front import hypervolume, pareto_front
from litefront.search.ledger import gate_savings, totals_by_stage
from litefront.search.study_results import StudyResults

__all__ = ["gate_texts", "savings_text", "stage_rows", "status_row"]


def status_row(results: StudyResults) -> dict[str, Any]:
    """The run in one row."""
    states = Counter(record.state for record in results.records)
    budget = results.spec.budget.cells
    baseline, gain = results.baseline, latest_gain(results)
    return {
        "study": results.spec.study,
        "directory": str(results.directory.path),
        "running": _is_running(results),
        "measured": states[CellState.MEASURED],
        "rejected": states[CellState.REJECTED],
        "failed": states[CellState.FAILED],
        "target": results.context.cells if budget is None else min(budget, results.context.cells),
        "front": len(pareto_front(results.measured, results.spec.chosen_objectives())),
        "hypervolume": round(hypervolume(results.measured, baseline, results.spec), 4) if baseline else None,
        "latest_gain": None if gain is None else str(gain),
        "started": results.context.started_at,
        "last_cell": max((record.finished_at for record in results.records), default=None),
    }


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
