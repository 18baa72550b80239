"""What each mode of measuring promises."""

from __future__ import annotations

import dataclasses
import json

import pytest

from litefront.objectives.timing import MODES, Mode, Timing


def test_timing_goes_through_json_whole() -> None:
    timing = Timing(min_rounds=3, cold_starts=1)
    assert Timing(**json.loads(json.dumps(timing.to_json()))) == timing
    assert set(timing.to_json()) == {field.name for field in dataclasses.fields(Timing)}


def test_the_modes_are_those_of_mlperf_mobile() -> None:
    assert MODES.keys() == set(Mode)
    assert (MODES[Mode.QUICK].min_calls, MODES[Mode.QUICK].min_s) == (128, 10)
    assert (MODES[Mode.SUBMIT].min_calls, MODES[Mode.SUBMIT].min_s, MODES[Mode.SUBMIT].max_s) == (1024, 60, 600)


@pytest.mark.parametrize("mode", Mode)
def test_every_mode_has_rounds_enough_for_an_interval(mode: Mode) -> None:
    timing = MODES[mode]
    assert timing.min_rounds >= 7
    assert timing.reference_round_s < timing.round_s
    assert timing.min_s < timing.max_s


def test_a_search_s_rounds_are_over_well_within_a_second() -> None:
    timing = MODES[Mode.SEARCH]
    assert timing.min_rounds * (timing.round_s + timing.reference_round_s) < 0.5


def test_only_a_repeat_waits_for_the_machine_to_be_calm() -> None:
    timing = Timing()
    assert timing.of_attempt(0).calm_max_s == 0
    assert timing.of_attempt(1).calm_max_s == timing.of_attempt(2).calm_max_s == timing.repeat_calm_max_s > 0


@pytest.mark.parametrize("timing", [*MODES.values(), Timing(soak_s=600.0, max_s=60.0, calm_max_s=60.0)])
def test_a_runner_is_given_the_time_that_it_may_take(timing: Timing) -> None:
    parts = 2 if timing.soak_s else 1
    assert timing.longest_s > parts * (timing.max_s + timing.calm_max_s) + timing.soak_s
