"""The ledger of stages: what was run, what was reused, and what that saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from litefront.search.cell_record import CellRecord
from litefront.search.run_directory import JsonLineAppender, RunDirectory
from litefront.search.stage_calls import STAGES
from litefront.search.study_results import StageEntry

__all__ = ["GateSavings", "Ledger", "StageTotals", "gate_savings", "totals_by_stage"]


@dataclass(frozen=True)
class StageTotals:
    """One stage's entries summed up.

    Attributes:
        runs: Times that it ran.
        hits: Times that a result was reused.
        failures: Times that it failed.
        seconds_spent: What its runs took.
        seconds_saved: What its hits would have taken.
        repeated: Runs of a key that had already run.
    """

    runs: int
    hits: int
    failures: int
    seconds_spent: float
    seconds_saved: float
    repeated: int


class Ledger:
    """Writes the ledger of a run.

    Args:
        directory: The run directory.
    """

    def __init__(self, directory: RunDirectory) -> None:
        # The results lie in the store; what a power cut takes from the ledger is a second's bookkeeping.
        self._lines = JsonLineAppender(directory.stages, sync_every_s=1.0)

    def note(self, entry: StageEntry) -> None:
        """Adds an entry.

        Raises:
            StoreError: If the disk does not take it.
        """
        self._lines.append(vars(entry))

    def close(self) -> None:
        """Waits until the disk has every entry.

        Raises:
            StoreError: If the disk does not take them.
        """
        self._lines.close()


def totals_by_stage(entries: Iterable[StageEntry]) -> dict[str, StageTotals]:
    """Sums the ledger up by stage, in the order of a candidate's life; stages without entries are left out."""
    entries = list(entries)
    totals = {}
    for stage in STAGES:
        of_stage = [entry for entry in entries if entry.stage == stage]
        runs = [entry for entry in of_stage if entry.event == "run"]
        hits = [entry for entry in of_stage if entry.event == "hit"]
        failures = [entry for entry in of_stage if entry.event == "failed"]
        if of_stage:
            totals[stage] = StageTotals(
                runs=len(runs),
                hits=len(hits),
                failures=len(failures),
                seconds_spent=sum(entry.seconds for entry in (*runs, *failures)),
                seconds_saved=sum(entry.seconds for entry in hits),
                repeated=sum(count - 1 for count in Counter(entry.key for entry in runs).values()),
            )
    return totals


@dataclass(frozen=True)
class GateSavings:
    """What one gate spared.

    Attributes:
        rejected: Cells that it rejected.
        stages: Runs of stages that they did not need any more.
        seconds: What those would have taken, at the mean of the runs that there were.
    """

    rejected: int
    stages: int
    seconds: float


def gate_savings(records: Iterable[CellRecord], entries: Iterable[StageEntry]) -> dict[str, GateSavings]:
    """What each gate spared, by gate: the stages after it that its cells never came to, less their screening."""
    totals = totals_by_stage(entries)
    means = {stage: entry.seconds_spent / entry.runs for stage, entry in totals.items() if entry.runs}
    savings: dict[str, GateSavings] = {}
    for record in records:
        if record.rejected_by is None:
            continue
        spared = [stage for stage in ("accuracy", "latency") if stage not in record.stages]
        before = savings.get(record.rejected_by, GateSavings(0, 0, 0.0))
        savings[record.rejected_by] = GateSavings(
            before.rejected + 1,
            before.stages + len(spared),
            before.seconds + _seconds_spared(record, spared, means),
        )
    return savings


def _seconds_spared(record: CellRecord, spared: Iterable[str], means: Mapping[str, float]) -> float:
    """Of the accuracy run a cell that was screened is spared the rest."""
    seconds = {stage: means.get(stage, 0.0) for stage in spared}
    if "accuracy" in seconds:
        seconds["accuracy"] = max(0.0, seconds["accuracy"] - record.facts.get("screening_s", 0.0))
    return sum(seconds.values())
