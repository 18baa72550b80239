"""How sure a front is: by hand where a hand suffices, else against many runs of a machine whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from litefront.objectives.measurement import Measurement, Provenance
from litefront.objectives.power import HOST_POWER
from litefront.search.cell_record import CellRecord
from litefront.search.front import loss_values, pareto_front
from litefront.search.membership import (
    Standing,
    front_probabilities,
    standings,
    ties,
    uncertain_cells,
)
from litefront.search.noise import between_scatter
from litefront.search.tiers import power_inputs
from tests.search.records import make_record, make_spec, make_timed_record, timing

COSTS = make_spec(objectives=["size", "latency"])
PRIOR = 0.01


def with_interval(record: CellRecord, figure: str, low: float, high: float) -> CellRecord:
    changed = replace(record.figures[figure], interval=(low, high))
    return replace(record, figures={**record.figures, figure: changed})


# -------------------------------------------------------------------------------------------------- probabilities


def test_a_front_of_nothing_has_no_probabilities() -> None:
    assert front_probabilities([], COSTS) == {}
    assert (uncertain_cells([], COSTS), ties([], COSTS), standings([], COSTS)) == ([], {}, {})


def test_a_clear_member_is_certain_and_a_clearly_dominated_cell_is_ruled_out() -> None:
    records = [
        make_record("small", size_bytes=100, latency_ms=2.0),
        make_record("quick", size_bytes=200, latency_ms=1.0),
        make_record("worse", size_bytes=200, latency_ms=1.5),
    ]
    assert front_probabilities(records, COSTS) == {"small": 1.0, "quick": 1.0, "worse": 0.0}


def test_two_cells_alike_share_the_place() -> None:
    records = [make_record(name, size_bytes=100, latency_ms=1.0) for name in "ab"]
    probabilities = front_probabilities(records, COSTS)
    assert probabilities["a"] == pytest.approx(0.5, abs=0.08)
    assert probabilities["a"] + probabilities["b"] == pytest.approx(1.0)


def test_cells_alike_in_exact_figures_alone_are_both_on_the_front() -> None:
    records = [make_record(name, accuracy=0.9, size_bytes=100, latency_ms=float(name)) for name in "12"]
    spec = make_spec(objectives=["accuracy", "size"])
    assert front_probabilities(records, spec) == {"1": 1.0, "2": 1.0}


def test_the_probability_is_that_of_the_normal_distribution() -> None:
    # A difference of one standard error of the difference: the slower one is really quicker with 1 - Phi(1) = 15.9 %.
    records = [
        make_record("quick", size_bytes=100, latency_ms=1.0),
        make_record("slow", size_bytes=100, latency_ms=math.exp(PRIOR * math.sqrt(2))),
    ]
    probabilities = front_probabilities(records, COSTS)
    assert probabilities["slow"] == pytest.approx(0.159, abs=0.06)


def test_further_timings_make_a_place_surer() -> None:
    def records(count: int) -> list[CellRecord]:
        rows = (("quick", 1.0), ("slow", 1.015))
        return [make_timed_record(name, *[timing(latency, 0.02)] * count, size_bytes=100) for name, latency in rows]

    once, often = (front_probabilities(records(count), COSTS)["slow"] for count in (1, 12))
    assert once > 0.1 > 0.05 > often


def test_a_wide_interval_of_the_only_timing_makes_a_place_open() -> None:
    quick = make_record("quick", size_bytes=100, latency_ms=1.0)
    slow = make_record("slow", size_bytes=100, latency_ms=1.1)
    assert front_probabilities([quick, slow], COSTS)["slow"] == 0.0
    wide = with_interval(slow, "latency_ms", 0.9, 1.3)
    assert 0.05 < front_probabilities([quick, wide], COSTS)["slow"] < 0.45


def test_the_same_records_have_the_same_probabilities() -> None:
    records = [make_record(str(n), size_bytes=100 + n // 2, latency_ms=1.0 + 0.005 * n) for n in range(8)]
    assert front_probabilities(records, COSTS) == front_probabilities(records, COSTS)


def test_throughput_falls_as_latency_rises_so_the_two_never_trade() -> None:
    spec = make_spec(objectives=["latency", "throughput"])
    records = [
        make_record(name, latency_ms=latency_ms, throughput_per_s=1000 / latency_ms)
        for name, latency_ms in (("a", 1.0), ("b", 1.005))
    ]
    # Drawn apart, each of two figures would let the other cell in; moved together, one of the cells wins both.
    probabilities = front_probabilities(records, spec)
    assert probabilities["a"] + probabilities["b"] == pytest.approx(1.0)


@pytest.mark.parametrize(("objective", "figure"), [("energy", "energy_mj"), ("power", "power_mw")])
def test_modelled_energy_and_power_move_with_the_latency_by_their_model(objective: str, figure: str) -> None:
    # What does not depend on the time (a memory access, a wake-up) is so large that the figure moves far less than the
    # latency: 2 % apart in latency and 0.8 % in the figure are as sure as one another.
    spec = make_spec(objectives=[objective], load={"samples_per_s": 30})

    def record(name: str, latency_ms: float) -> CellRecord:
        record = make_record(name, latency_ms=latency_ms, size_bytes=2_000_000)
        record = replace(record, facts={"busy_cores": 1.0, "last_level_cache_bytes": 1_000_000})
        inputs = power_inputs(record)
        modelled = HOST_POWER.energy(inputs) if objective == "energy" else HOST_POWER.power(inputs, 30)
        return replace(record, figures={**record.figures, figure: modelled})

    quick, slow = record("quick", 0.05), record("slow", 0.05 * math.exp(PRIOR * math.sqrt(2)))
    assert slow.value(figure) / quick.value(figure) < 1.01
    assert front_probabilities([quick, slow], spec)["slow"] == pytest.approx(0.159, abs=0.06)


def test_counted_energy_stands_by_its_own_interval() -> None:
    def record(name: str, energy_mj: float) -> CellRecord:
        counted = Measurement(energy_mj, "mJ", Provenance.COUNTED, "by hand", (energy_mj * 0.9, energy_mj * 1.1))
        record = make_record(name, latency_ms=1.0)
        return replace(record, figures={**record.figures, "energy_mj": counted})

    spec = make_spec(objectives=["energy"])
    assert 0.1 < front_probabilities([record("a", 1.0), record("b", 1.05)], spec)["b"] < 0.4
    assert front_probabilities([record("a", 1.0), record("b", 2.0)], spec)["b"] == 0.0


def test_memory_stands_by_its_own_interval() -> None:
    def record(name: str, memory_bytes: float) -> CellRecord:
        memory = Measurement(
            memory_bytes, "bytes", Provenance.MEASURED, "by hand", (memory_bytes - 50, memory_bytes + 50)
        )
        record = make_record(name, latency_ms=1.0)
        return replace(record, figures={**record.figures, "memory_bytes": memory})

    spec = make_spec(objectives=["memory"])
    assert 0.1 < front_probabilities([record("a", 1000), record("b", 1020)], spec)["b"] < 0.45


# -------------------------------------------------------------------------------------------------- calibration

SCATTER = 0.03


def simulated_run(rng: np.random.Generator) -> tuple[list[CellRecord], set[str]]:
    """Records of a machine whose timings scatter by 3 %, and which of their cells are really on the front.

    Forty cells with as many sizes; the true latencies lie so close that noise decides about many of them.
    """
    sizes, latencies = rng.integers(1, 12, 40), np.exp(rng.uniform(0.0, 0.6, 40))
    truth = [
        make_record(str(number), size_bytes=size, latency_ms=latency)
        for number, (size, latency) in enumerate(zip(sizes.tolist(), latencies.tolist(), strict=True))
    ]
    really = {record.cell for record in pareto_front(truth, COSTS.chosen_objectives())}
    within = 0.01

    def measured(record: CellRecord) -> CellRecord:
        errors = SCATTER * rng.standard_normal(2) + within * rng.standard_normal(2)
        timings = (timing(record.value("latency_ms") * math.exp(error), 1.96 * within) for error in errors)
        return make_timed_record(record.cell, *timings, size_bytes=record.value("size_bytes"))

    return [measured(record) for record in truth], really


@pytest.fixture(scope="module")
def forecasts() -> tuple[np.ndarray, np.ndarray]:
    """The probability of each cell of many simulated runs, and whether it is really on the front."""
    rng = np.random.default_rng(1)
    pairs = []
    for _ in range(100):
        records, really = simulated_run(rng)
        pairs += [(p, cell in really) for cell, p in front_probabilities(records, COSTS).items()]
    probabilities, on_front = zip(*pairs, strict=True)
    return np.array(probabilities), np.array(on_front)


@pytest.mark.parametrize(
    ("low", "high", "at_least", "at_most"),
    [
        (0.0, 0.02, 0.0, 0.02),
        (0.1, 0.3, 0.08, 0.35),
        (0.4, 0.6, 0.25, 0.75),
        (0.7, 0.9, 0.65, 0.95),
        (0.98, 1.0, 0.97, 1.0),
    ],
)
def test_as_many_are_really_on_the_front_as_the_probability_says(
    forecasts: tuple[np.ndarray, np.ndarray], low: float, high: float, at_least: float, at_most: float
) -> None:
    probabilities, on_front = forecasts
    chosen = (low <= probabilities) & (probabilities <= high)
    assert chosen.sum() >= 40
    assert at_least <= on_front[chosen].mean() <= at_most


def test_leaving_out_what_is_dominated_beyond_doubt_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    records, _ = simulated_run(rng)
    probabilities = front_probabilities(records, COSTS)
    # The plain twin draws every cell; the few draws of either leave a standard error of at most 2.5 %.
    losses = loss_values(records, COSTS.chosen_objectives())
    error = math.sqrt(((0.01**2) + between_scatter(records) ** 2) / 2)
    hits = np.zeros(len(records))
    for _ in range(2000):
        drawn = losses * np.exp(np.column_stack([np.zeros(len(records)), error * rng.standard_normal(len(records))]))
        beaten = np.all(drawn[:, None] <= drawn, axis=2) & np.any(drawn[:, None] < drawn, axis=2)
        hits += ~beaten.any(axis=0)
    assert list(probabilities.values()) == pytest.approx(hits / 2000, abs=0.1)


# -------------------------------------------------------------------------------------------------- what is open


def test_uncertain_cells_come_with_the_most_open_first() -> None:
    records = [
        make_record("sure", size_bytes=50, latency_ms=3.0),
        make_record("quick", size_bytes=100, latency_ms=1.0),
        make_record("nearly", size_bytes=100, latency_ms=1.015),
        make_record("hopeless", size_bytes=100, latency_ms=2.0),
        make_record("even a", size_bytes=90, latency_ms=1.5),
        make_record("even b", size_bytes=90, latency_ms=1.5),
    ]
    uncertain = [record.cell for record in uncertain_cells(records, COSTS)]
    assert set(uncertain[:2]) == {"even a", "even b"}
    assert set(uncertain[2:]) == {"quick", "nearly"}


def test_of_two_as_open_the_one_with_fewer_timings_comes_first() -> None:
    often = make_timed_record("a often", *[timing(1.0)] * 5, size_bytes=100)
    once = make_timed_record("b once", timing(1.0), size_bytes=100)
    assert [record.cell for record in uncertain_cells([often, once], COSTS)] == ["b once", "a often"]


def test_the_limits_of_what_counts_as_open_can_be_set() -> None:
    records = [make_record("quick", size_bytes=1, latency_ms=1.0), make_record("slow", size_bytes=1, latency_ms=1.02)]
    assert uncertain_cells(records, COSTS, low=0.4, high=0.6) == []
    assert len(uncertain_cells(records, COSTS, low=0.0, high=1.0)) == 2


# -------------------------------------------------------------------------------------------------- ties


def test_cells_within_two_standard_errors_of_the_difference_are_ties() -> None:
    # One timing each and the prior's 1 %: the limit is 2 * sqrt(2) * 1 % = 2.8 %.
    records = [
        make_record("quick", size_bytes=100, latency_ms=1.0),
        make_record("close", size_bytes=100, latency_ms=1.027),
        make_record("further", size_bytes=100, latency_ms=1.03),
    ]
    assert ties(records, COSTS) == {"quick": ("close",)}


def test_a_cell_of_another_exact_value_is_no_tie() -> None:
    records = [make_record("a", size_bytes=100, latency_ms=1.0), make_record("b", size_bytes=101, latency_ms=1.0)]
    assert ties(records, COSTS) == {}


def test_two_members_of_equal_values_are_ties_of_one_another() -> None:
    records = [make_record(name, size_bytes=100, latency_ms=1.0) for name in "ab"]
    assert ties(records, COSTS) == {"a": ("b",), "b": ("a",)}


def test_the_standing_of_a_cell_names_its_ties_from_either_side() -> None:
    records = [
        make_timed_record("quick", timing(1.0), timing(1.0), size_bytes=100),
        make_record("close", size_bytes=100, latency_ms=1.01),
        make_record("worse", size_bytes=200, latency_ms=5.0),
    ]
    found = standings(records, COSTS)
    assert (found["quick"].timings, found["quick"].ties) == (2, ("close",))
    assert (found["close"].timings, found["close"].ties) == (1, ("quick",))
    assert found["worse"] == Standing(0.0, 1, ())
    assert found["quick"].probability > 0.5 > found["close"].probability > 0.0
