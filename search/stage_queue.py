"""What the scheduler keeps of the stages that are wanted: who waits for each, in what order, and how long they take."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Generator
from dataclasses import dataclass, field

from litefront.search.cell_record import CellRecord
from litefront.search.claims import Claim
from litefront.search.stage_calls import StageCall
from litefront.search.store import StageRecord
from litefront.search.workers import Place

__all__ = ["MeanSeconds", "Plan", "StageQueue", "WantedStage"]

Plan = Generator[StageCall, StageRecord, CellRecord]
"""Yields stages, is sent their records, and returns the cell's record; a CandidateError may be thrown into it."""


@dataclass(eq=False)
class WantedStage:
    """A stage that is wanted, and the plans that wait for it.

    Attributes:
        call: The stage's call.
        plans: The plans; none for a stage that is run on its own.
        losses: How often it was lost with its machine.
        place: Where it runs; None while it does not.
        started: When it was started there, on the scheduler's clock.
        claim: Keeps other runs off it while it runs.
    """

    call: StageCall
    plans: list[Plan] = field(default_factory=list)
    losses: int = 0
    place: Place | None = None
    started: float = 0.0
    claim: Claim | None = None


class StageQueue:
    """The stages that wait to be started, each kind in a line of its own, so that none stands in another's way."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[tuple[int, WantedStage]]] = defaultdict(deque)
        self._arrivals = 0
        self._measurements = 0
        self._length = 0

    @property
    def measurements(self) -> int:
        """How many of them lease the device."""
        return self._measurements

    @property
    def builds(self) -> int:
        """How many do not."""
        return self._length - self._measurements

    def append(self, wanted: WantedStage) -> None:
        """Puts a stage at the end of its line."""
        self._arrivals += 1
        self._lines[wanted.call.stage].append((self._arrivals, wanted))
        self._count(wanted, 1)

    def put_first(self, wanted: WantedStage) -> None:
        """Puts a stage that had its turn already before all others."""
        self._lines[wanted.call.stage].appendleft((0, wanted))
        self._count(wanted, 1)

    def heads(self) -> list[WantedStage]:
        """The first of each line, those that came first before the others."""
        heads = [line[0] for line in self._lines.values() if line]
        return [wanted for _, wanted in sorted(heads, key=lambda head: head[0])]

    def take(self, head: WantedStage) -> None:
        """Takes the first of a line out."""
        self._lines[head.call.stage].popleft()
        self._count(head, -1)

    def clear(self) -> list[WantedStage]:
        """Takes all of them out."""
        taken = [wanted for line in self._lines.values() for _, wanted in line]
        self._lines.clear()
        self._length = self._measurements = 0
        return taken

    def _count(self, wanted: WantedStage, change: int) -> None:
        self._length += change
        self._measurements += change * wanted.call.leases_device


class MeanSeconds:
    """How long each kind of stage takes: the mean of what ran so far."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[int, float]] = {}

    def note(self, stage: str, seconds: float) -> None:
        """Takes a stage's run in."""
        runs, total = self._sums.get(stage, (0, 0.0))
        self._sums[stage] = (runs + 1, total + seconds)

    def expected(self, stage: str) -> float | None:
        """The mean; None of a stage that has not run yet."""
        if stage not in self._sums:
            return None
        runs, total = self._sums[stage]
        return total / runs
