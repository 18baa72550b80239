"""A measuring campaign over many cells, as a search makes it: with the same reference, repeats and pace."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from harness.measured_models import MeasuredModel
from litefront.objectives.devices import HostDevice
from litefront.objectives.latency import is_enough
from litefront.objectives.timing import Timing
from litefront.search.cell_draft import CellDraft
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.machine_pace import MachinePace
from litefront.search.store import StageRecord

__all__ = ["busy_loop", "campaign"]


@dataclass
class _Cell:
    """A cell on its way: its model, and what its timings left."""

    model: MeasuredModel
    timings: list[StageRecord] = field(default_factory=list)

    def take(self, timing: Timing, reference: MeasuredModel | None) -> None:
        """Times the cell once more."""
        reply = HostDevice().benchmark(
            self.model.candidate,
            self.model.rows,
            timing.of_attempt(len(self.timings)),
            reference and reference.candidate,
        )
        self.timings.append(StageRecord("latency", "", {}, dict(reply), 0.0))

    def is_done(self, pace_ms: float | None) -> bool:
        """Whether no further timing is wanted."""
        return is_enough([timing.facts["rounds"] for timing in self.timings], pace_ms)

    def record(self, pace_ms: float | None, *, is_reference: bool = False) -> CellRecord:
        """What the timings come to."""
        draft = CellDraft(self.model.name, self.model.candidate.config, "host")
        draft.take_latency(self.timings, pace_ms, is_reference=is_reference)
        return draft.record(CellState.MEASURED)


def campaign(models: Sequence[MeasuredModel], reference: MeasuredModel, *, seed: int) -> dict[str, CellRecord]:
    """Measures each model with the reference beside it; one whose figures do not hold waits until the others are done.

    Args:
        models: What is measured.
        reference: What is timed first, and then beside each of them.
        seed: Of their order.

    Returns:
        Their records by name, judged by the pace as it is known at the end.
    """
    timing, first = Timing(), _Cell(reference)
    while not first.is_done(None):
        first.take(timing, None)
    pace = MachinePace(first.record(None, is_reference=True).value("latency_ms"))
    cells = [_Cell(model) for model in models]
    waiting = deque(random.Random(seed).sample(cells, len(cells)))
    while waiting:
        cell = waiting.popleft()
        cell.take(timing, reference)
        pace.note(cell.record(pace.reference_ms))
        if not cell.is_done(pace.reference_ms):
            waiting.append(cell)
    return {cell.model.name: cell.record(pace.reference_ms) for cell in cells}


_BUSY_LOOP = """
import os, random, time
parent, phases = os.getppid(), random.Random(0)
while os.getppid() == parent:  # it does not outlive a benchmark that is killed
    end = time.monotonic() + phases.uniform(1, 5)
    while time.monotonic() < end:
        pass
    time.sleep(phases.uniform(1, 5))
"""


@contextlib.contextmanager
def busy_loop() -> Iterator[None]:
    """Keeps a core busy for part of the time: 1 to 5 s on, 1 to 5 s off, at random."""
    with subprocess.Popen([sys.executable, "-c", _BUSY_LOOP]) as process:
        try:
            yield
        finally:
            process.kill()
