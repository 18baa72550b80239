"""Rounds, summed up by hand."""

from __future__ import annotations

from typing import Any

import pytest

from litefront.objectives.latency import (
    beside_itself,
    busy_cores,
    is_enough,
    machine_speed,
    measure_latency,
    noisy_reason,
    timing_facts,
)


def a_round(median_ms: float, *, disturbed: bool = False, calls: int = 10, **other: float) -> dict[str, Any]:
    entry = {"median_ms": median_ms, "p90_ms": median_ms * 2, "calls": calls, "wall_s": 0.1, "cpu_s": 0.1}
    return entry | {"disturbed": disturbed} | other


def test_latency_is_the_median_of_the_rounds_medians() -> None:
    figures = measure_latency([[a_round(4), a_round(2), a_round(3)]], batch_size=6)
    assert figures["latency_ms"].value == 3
    assert figures["latency_p90_ms"].value == 6
    # A resample of three rounds has each of them as its median in at least 7 of 27 cases, so 95 % reach both ends.
    assert figures["latency_ms"].interval == pytest.approx((2, 4))
    assert figures["latency_p90_ms"].interval == pytest.approx((4, 8))
    assert figures["latency_ms"].source == "p50 of a call over 3 rounds, 30 calls"


def test_what_stands_for_a_statistic_is_said() -> None:
    rounds = [entry | {"median_is": "mean", "p90_is": "p95"} for entry in (a_round(4), a_round(2), a_round(3))]
    figures = measure_latency([rounds], batch_size=6)
    assert figures["latency_ms"].source == "mean of a call over 3 rounds, 30 calls"
    assert figures["latency_p90_ms"].source == "p95 of a call, no less than its p90, over 3 rounds, 30 calls"
    assert figures["throughput_per_s"].source == "batch / mean over 3 rounds, 30 calls"


def test_throughput_is_batch_by_latency_and_turns_the_interval() -> None:
    figure = measure_latency([[a_round(4), a_round(2), a_round(3)]], batch_size=6)["throughput_per_s"]
    assert figure.value == pytest.approx(6 / 0.003)
    assert figure.interval == pytest.approx((6 / 0.004, 6 / 0.002))
    assert figure.unit == "1/s"


def test_equal_rounds_have_no_width() -> None:
    figures = measure_latency([[a_round(2)] * 5], batch_size=1)
    assert figures["latency_ms"].interval == pytest.approx((2, 2))
    assert noisy_reason([[a_round(2)] * 5]) is None


def test_disturbed_rounds_are_left_out_and_said() -> None:
    rounds = [a_round(2), a_round(90, disturbed=True), a_round(2), a_round(2), a_round(80, disturbed=True)]
    figure = measure_latency([rounds], batch_size=1)["latency_ms"]
    assert (figure.value, figure.interval) == (2, (2, 2))
    assert figure.source == "p50 of a call over 3 rounds, 30 calls, 2 disturbed or unsteady left out"
    assert noisy_reason([rounds]) is None


def test_disturbed_rounds_count_where_fewer_than_three_are_calm() -> None:
    rounds = [
        a_round(2),
        a_round(8, disturbed=True),
        a_round(2),
        a_round(8, disturbed=True),
        a_round(8, disturbed=True),
    ]
    figure = measure_latency([rounds], batch_size=1)["latency_ms"]
    assert figure.value == 8
    assert "left out" not in figure.source
    assert noisy_reason([rounds]) == "other work ran beside the measurement"


def test_a_wide_interval_is_noisy() -> None:
    assert noisy_reason([[a_round(9), a_round(10), a_round(11)]]) == "interval of +-10%"
    assert noisy_reason([[a_round(9.6), a_round(10), a_round(10.4)]]) is None


def test_one_round_is_enough() -> None:
    assert measure_latency([[a_round(5)]], batch_size=1)["latency_ms"].value == 5


def test_busy_cores_weighs_rounds_by_their_length() -> None:
    rounds = [a_round(1, wall_s=1.0, cpu_s=2.0), a_round(1, wall_s=3.0, cpu_s=3.0), a_round(1, wall_s=1.0, cpu_s=1.0)]
    assert busy_cores([rounds]) == pytest.approx(6 / 5)


def test_busy_cores_leaves_disturbed_rounds_out() -> None:
    rounds = [a_round(1)] * 3 + [a_round(1, disturbed=True, cpu_s=9.0)]
    assert busy_cores([rounds]) == pytest.approx(1.0)


def test_measurements_of_a_candidate_pool_into_one_figure() -> None:
    first, second = [a_round(2.0)] * 5, [a_round(2.2)] * 5
    figure = measure_latency([first, second], batch_size=1)["latency_ms"]
    assert figure.value == pytest.approx(2.1)
    # What changed between the two measurements is in the interval; neither shows it alone.
    assert figure.interval == pytest.approx((2.0, 2.2))
    assert figure.source == "p50 of a call over 10 rounds, 100 calls of 2 measurements"


def test_a_disturbed_or_wide_measurement_is_left_out_where_a_better_one_is_there() -> None:
    steady, wide = [a_round(2.0)] * 5, [a_round(9), a_round(10), a_round(11)]
    disturbed = [a_round(5, disturbed=True)] * 4
    figure = measure_latency([disturbed, wide, steady], batch_size=1)["latency_ms"]
    assert (figure.value, figure.interval) == (2.0, (2.0, 2.0))
    assert figure.source.endswith("7 disturbed or unsteady left out")
    assert noisy_reason([disturbed, wide, steady]) is None
    assert measure_latency([disturbed, wide], batch_size=1)["latency_ms"].value == 10
    assert noisy_reason([disturbed, wide]) == "interval of +-10%"


def test_what_the_reference_lost_beside_it_is_given_back_to_a_round() -> None:
    # The reference took 1.0 ms when the study began; now a part of the rounds runs at half the speed.
    rounds = [a_round(4, reference_ms=2.0), a_round(4, reference_ms=2.0), a_round(2, reference_ms=1.0)]
    figures = measure_latency([rounds], batch_size=1, reference_ms=1.0)
    assert figures["latency_ms"].value == pytest.approx(2.0)
    assert figures["latency_p90_ms"].value == pytest.approx(4.0)
    assert figures["latency_ms"].source.endswith("corrected for a machine at 0.50 of its speed")
    assert machine_speed(rounds, 1.0) == pytest.approx(0.5)
    assert noisy_reason([rounds], 1.0) == "the machine was at 0.50 of its speed, which is corrected roughly"


def test_a_machine_within_five_percent_of_its_speed_is_left_alone() -> None:
    rounds = [a_round(4, reference_ms=1.04)] * 3
    figure = measure_latency([rounds], batch_size=1, reference_ms=1.0)["latency_ms"]
    assert (figure.value, "corrected" in figure.source) == (4, False)
    assert machine_speed(rounds, None) is None
    assert machine_speed([a_round(4)], 1.0) is None


def test_a_measurement_alone_says_what_it_would_give() -> None:
    facts = timing_facts(
        [a_round(9, reference_ms=1.0), a_round(10, reference_ms=1.0), a_round(11, reference_ms=1.0)], 1.0
    )
    assert facts == {
        "latency_ms": 10,
        "half_width": pytest.approx(0.1),
        "disturbed": False,
        "beside_ms": 1.0,
        "machine_speed": pytest.approx(1.0),
    }
    assert timing_facts([a_round(5, disturbed=True)] * 3)["disturbed"]


def test_the_reference_s_own_rounds_tell_the_machine_s_speed() -> None:
    rounds = beside_itself([a_round(1.9), a_round(2.0), a_round(2.1)])
    figure = measure_latency([rounds], batch_size=1, reference_ms=1.0)["latency_ms"]
    assert (figure.value, figure.interval) == (pytest.approx(1.0), pytest.approx((0.95, 1.05)))
    assert figure.source.endswith("corrected for a machine at 0.50 of its speed")
    beside = [a_round(2.0, reference_ms=1.5)]
    assert beside_itself(beside)[0]["reference_ms"] == 1.5


def test_a_corrected_figure_may_have_missed_by_the_factor_of_its_correction() -> None:
    rounds = [a_round(4, reference_ms=1.25)] * 5
    figures = measure_latency([rounds], batch_size=1, reference_ms=1.0)
    assert figures["latency_ms"].value == pytest.approx(3.2)
    assert figures["latency_ms"].interval == pytest.approx((3.2 / 1.25, 3.2 * 1.25))
    assert figures["throughput_per_s"].interval == pytest.approx((1000 / 4, 1000 / 2.56))
    assert timing_facts(rounds, 1.0)["half_width"] == pytest.approx((1.25 - 0.8) / 2)
    # The reference itself is corrected by its own times: nothing is left to doubt.
    own = beside_itself([a_round(1.25)] * 5)
    assert measure_latency([own], batch_size=1, reference_ms=1.0)["latency_ms"].interval == pytest.approx((1.0, 1.0))
    assert noisy_reason([own], 1.0) is None


def test_a_measurement_at_the_machine_s_pace_is_worth_more_than_a_corrected_one() -> None:
    slow, at_pace = [a_round(4.6, reference_ms=1.15)] * 5, [a_round(3.2, reference_ms=1.0)] * 5
    figure = measure_latency([slow, at_pace, slow], batch_size=1, reference_ms=1.0)["latency_ms"]
    assert (figure.value, figure.interval) == (3.2, (3.2, 3.2))
    assert noisy_reason([slow, at_pace], 1.0) is None
    # Where there is no better one, it is corrected and said.
    assert measure_latency([slow], batch_size=1, reference_ms=1.0)["latency_ms"].value == pytest.approx(4.0)


def test_a_candidate_is_timed_until_its_figures_hold_or_three_times() -> None:
    steady, wide = [a_round(2.0)] * 5, [a_round(9), a_round(10), a_round(11)]
    assert not is_enough([])
    assert is_enough([steady])
    assert not is_enough([wide])
    assert is_enough([wide, steady])
    assert not is_enough([wide, [a_round(5, disturbed=True)] * 5])
    assert is_enough([wide] * 3)
    slow = [a_round(2.0, reference_ms=1.2)] * 5
    assert is_enough([slow])
    assert not is_enough([slow], 1.0)
