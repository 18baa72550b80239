"""Timings that are noisy are taken again, and the steadiest counts."""

from __future__ import annotations

import pytest

from litefront.search.cell_plan import steadiest_timing
from litefront.search.stage_calls import StageCall
from litefront.search.store import StageRecord


def a_timing(*medians_ms: float, disturbed: bool = False) -> StageRecord:
    rounds = [
        {"median_ms": m, "p90_ms": m, "calls": 9, "wall_s": 0.1, "cpu_s": 0.1, "others_s": 0.0, "disturbed": disturbed}
        for m in medians_ms
    ]
    return StageRecord("latency", str(medians_ms), {}, {"rounds": rounds}, 1.0)


STEADY = a_timing(1.0, 1.0, 1.0, 1.01, 1.0, 0.99, 1.0)
WIDE = a_timing(1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0)
WIDER = a_timing(1.0, 9.0, 1.0, 9.0, 1.0, 9.0, 1.0)
BESIDE_OTHERS = a_timing(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, disturbed=True)


def drive(*timings: StageRecord) -> tuple[list[int], StageRecord]:
    """The attempts that were asked for, and the timing that was chosen, when these are what comes of them."""
    asked: list[int] = []

    def call(attempt: int) -> StageCall:
        asked.append(attempt)
        return StageCall("latency", {"attempt": attempt})

    plan = steadiest_timing(call)
    next(plan)
    try:
        for timing in timings:
            plan.send(timing)
    except StopIteration as end:
        return asked, end.value
    pytest.fail("the plan asks for more timings than three")


def test_a_steady_timing_is_taken_once() -> None:
    assert drive(STEADY) == ([0], STEADY)


def test_a_noisy_timing_is_taken_again_until_it_is_steady() -> None:
    assert drive(WIDE, STEADY) == ([0, 1], STEADY)


def test_of_three_noisy_timings_the_steadiest_counts() -> None:
    assert drive(WIDER, WIDE, WIDER) == ([0, 1, 2], WIDE)


def test_a_wide_timing_is_trusted_before_one_that_had_company() -> None:
    assert drive(BESIDE_OTHERS, WIDE, WIDER) == ([0, 1, 2], WIDE)


def test_each_attempt_is_a_stage_of_its_own() -> None:
    calls = [StageCall("latency", {"attempt": attempt}) for attempt in range(3)]
    assert len({call.key for call in calls}) == 3
