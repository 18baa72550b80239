"""The pace of the device's machine: what the reference's call takes there when nothing slows it.

Every latency is told for that pace, so that a slow phase of the machine is not taken for a slow model. The baseline's
own first timing sets it. If the machine was slow just then, every later figure would be slowed along with it: so when
further measurements agree that the machine is faster, the pace is set anew by what they found.
"""

from __future__ import annotations

import statistics

from litefront.objectives.latency import MAX_DRIFT
from litefront.search.cell_record import CellRecord

__all__ = ["MachinePace"]

# One fast measurement may be a fluke.
_WITNESSES = 2


class MachinePace:
    """Follows the measurements of a search.

    Args:
        reference_ms: p50 of the reference's call, as far as it is known by now.
    """

    def __init__(self, reference_ms: float) -> None:
        self._reference_ms = reference_ms
        self._faster_ms: dict[str, float] = {}

    @property
    def reference_ms(self) -> float:
        """p50 of the reference's call at the machine's pace."""
        return self._reference_ms

    def note(self, record: CellRecord) -> bool:
        """Takes a cell's timings in.

        Returns:
            Whether the pace is another one now: what was judged by the old one must be judged anew.
        """
        beside = [timing["beside_ms"] for timing in record.facts.get("timings", ()) if not timing["disturbed"]]
        known = [beside_ms for beside_ms in beside if beside_ms is not None]
        if known and min(known) < self._reference_ms / (1 + MAX_DRIFT):
            self._faster_ms[record.cell] = min(known)
        if len(self._faster_ms) < _WITNESSES:
            return False
        self._reference_ms = statistics.median(self._faster_ms.values())
        self._faster_ms.clear()
        return True

    def has_judged(self, record: CellRecord) -> bool:
        """Whether a record's figures hold for this pace; those of a cell that was not timed hold for any."""
        return record.facts.get("reference_ms") in (None, self._reference_ms)
