"""When the pace of a machine is taken to be another than was thought."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from litefront.search.cell_record import CellRecord
from litefront.search.machine_pace import MachinePace
from tests.search.records import make_record


def timed(cell: str, *beside_ms: float | None, disturbed: bool = False, judged_by_ms: float = 2.0) -> CellRecord:
    timings = [{"beside_ms": each, "disturbed": disturbed} for each in beside_ms]
    facts: dict[str, Any] = {"timings": timings, "reference_ms": judged_by_ms}
    return replace(make_record(cell, latency_ms=1.0), facts=facts)


def test_two_cells_that_found_the_machine_faster_renew_the_pace() -> None:
    pace = MachinePace(2.0)
    assert not pace.note(timed("a", 1.0))
    assert pace.reference_ms == 2.0
    assert pace.note(timed("b", 1.2))
    assert pace.reference_ms == 1.1


def test_one_cell_is_one_witness_however_often_it_was_timed() -> None:
    pace = MachinePace(2.0)
    assert not pace.note(timed("a", 1.0, 1.0))
    assert not pace.note(timed("a", 1.0, 1.0, 1.0))


def test_a_slower_or_a_hardly_faster_machine_and_disturbed_timings_tell_nothing() -> None:
    pace = MachinePace(2.0)
    for cell in "abc":
        assert not pace.note(timed(cell, 3.0, 1.95, None))
        assert not pace.note(timed(cell + "x", 1.0, disturbed=True))
    assert not pace.note(make_record("rejected before it was timed"))
    assert pace.reference_ms == 2.0


def test_the_pace_can_be_renewed_again() -> None:
    pace = MachinePace(4.0)
    for beside_ms in (2.0, 1.0):
        assert not pace.note(timed("a", beside_ms))
        assert pace.note(timed("b", beside_ms))
    assert pace.reference_ms == 1.0


def test_a_record_says_by_which_pace_it_was_judged() -> None:
    pace = MachinePace(2.0)
    assert pace.has_judged(timed("a", 1.0))
    assert not pace.has_judged(timed("a", 1.0, judged_by_ms=3.0))
    assert pace.has_judged(make_record("never timed"))
