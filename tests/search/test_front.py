"""The Pareto front and its hypervolume, against sums done by hand and a plain twin."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from litefront.objectives.catalogue import OBJECTIVES, Direction, Objective
from litefront.search.cell_record import CellRecord
from litefront.search.front import FrontArchive, hypervolume, hypervolume_of_losses, loss_values, pareto_front
from tests.search.records import make_record, make_spec

ACCURACY, SIZE, LATENCY = OBJECTIVES["accuracy"], OBJECTIVES["size"], OBJECTIVES["latency"]
THROUGHPUT = OBJECTIVES["throughput"]


def cells(records: list[CellRecord]) -> list[str]:
    return [record.cell for record in records]


def test_pareto_front_of_nothing_is_empty() -> None:
    assert pareto_front([], [SIZE, LATENCY]) == []


def test_pareto_front_of_one_is_that_one() -> None:
    only = make_record(size_bytes=10, latency_ms=1)
    assert pareto_front([only], [SIZE, LATENCY]) == [only]


def test_pareto_front_keeps_duplicates() -> None:
    records = [make_record(name, size_bytes=10, latency_ms=1) for name in "ab"]
    assert cells(pareto_front(records, [SIZE, LATENCY])) == ["a", "b"]


def test_pareto_front_drops_what_is_equal_in_one_and_worse_in_the_other() -> None:
    better, weakly_dominated = (
        make_record("a", size_bytes=10, latency_ms=1),
        make_record("b", size_bytes=10, latency_ms=2),
    )
    assert cells(pareto_front([weakly_dominated, better], [SIZE, LATENCY])) == ["a"]


def test_pareto_front_maximises_accuracy_and_minimises_size() -> None:
    records = [
        make_record("small", accuracy=0.90, size_bytes=10),
        make_record("exact", accuracy=0.95, size_bytes=40),
        make_record("worse", accuracy=0.89, size_bytes=20),
        make_record("large", accuracy=0.95, size_bytes=50),
    ]
    assert cells(pareto_front(records, [ACCURACY, SIZE])) == ["exact", "small"]


def test_pareto_front_of_one_objective_is_the_best_values() -> None:
    records = [make_record("b", latency_ms=2), make_record("a", latency_ms=1), make_record("c", latency_ms=1)]
    assert cells(pareto_front(records, [LATENCY])) == ["a", "c"]


def test_pareto_front_is_ordered_by_the_first_objective_best_first() -> None:
    records = [make_record(str(size), size_bytes=size, latency_ms=10 / size) for size in (4, 1, 2)]
    assert cells(pareto_front(records, [SIZE, LATENCY])) == ["1", "2", "4"]
    assert cells(pareto_front(records, [LATENCY, SIZE])) == ["4", "2", "1"]


def beats(one: CellRecord, other: CellRecord, objectives: list[Objective]) -> bool:
    """The definition, word by word: at least as good in every objective, and better in one."""
    pairs = [(one.value(o.figure), other.value(o.figure), o.direction is Direction.MINIMIZE) for o in objectives]
    as_good = all(a <= b if lower else a >= b for a, b, lower in pairs)
    better = any(a < b if lower else a > b for a, b, lower in pairs)
    return as_good and better


@pytest.mark.parametrize("seed", range(20))
def test_pareto_front_is_that_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    objectives = [ACCURACY, SIZE, LATENCY, THROUGHPUT][: rng.integers(2, 5)]
    # Few distinct values, so that ties and duplicates are common.
    rows = rng.integers(1, 6, size=(int(rng.integers(1, 60)), len(objectives)))
    figures = [o.figure for o in objectives]
    values: list[dict[str, Any]] = [dict(zip(figures, map(float, row), strict=True)) for row in rows]
    records = [make_record(str(number), **row) for number, row in enumerate(values)]
    expected = {r.cell for r in records if not any(beats(other, r, objectives) for other in records)}
    front = cells(pareto_front(records, objectives))
    assert set(front) == expected
    assert len(front) == len(expected)


def archive_of(records: list[CellRecord], objectives: list[Objective]) -> FrontArchive:
    archive = FrontArchive(objectives)
    for record in records:
        archive.add(record)
    return archive


@pytest.mark.parametrize("seed", range(20))
def test_the_archive_is_the_front_after_every_cell_and_every_new_measurement_of_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    objectives = [ACCURACY, SIZE, LATENCY]
    archive, known = FrontArchive(objectives), dict[str, CellRecord]()
    for _ in range(60):
        # Forty names for sixty records, so that members and dominated cells are measured again, for better or worse.
        name = str(rng.integers(40))
        accuracy, size_bytes, latency_ms = map(float, rng.integers(1, 6, 3))
        known[name] = make_record(name, accuracy=accuracy, size_bytes=size_bytes, latency_ms=latency_ms)
        on_front = archive.add(known[name])
        front = set(cells(pareto_front(list(known.values()), objectives)))
        assert set(cells(archive.members)) == front
        assert on_front == (name in front)
        assert len(archive) == len(front)


def test_the_archive_brings_back_what_a_withdrawn_member_beat() -> None:
    better, worse = make_record("a", latency_ms=1), make_record("b", latency_ms=2)
    archive = archive_of([better, worse], [LATENCY])
    assert cells(archive.members) == ["a"]
    archive.discard("a")
    assert cells(archive.members) == ["b"]
    archive.discard("a")
    archive.discard("b")
    assert (archive.members, archive.losses.shape) == ([], (0, 1))


def test_the_archive_gives_the_losses_of_its_members() -> None:
    exact, quick = make_record("a", accuracy=0.9, latency_ms=2), make_record("b", accuracy=0.8, latency_ms=1)
    archive = archive_of([exact, quick], [ACCURACY, LATENCY])
    np.testing.assert_array_equal(archive.losses, [[-0.9, 2.0], [-0.8, 1.0]])


def test_loss_values_turn_what_is_maximised() -> None:
    records = [make_record("a", accuracy=0.9, latency_ms=2), make_record("b", accuracy=0.8, latency_ms=1)]
    np.testing.assert_array_equal(loss_values(records, [ACCURACY, LATENCY]), [[-0.9, 2.0], [-0.8, 1.0]])


def test_loss_values_of_nothing_have_a_column_an_objective() -> None:
    assert loss_values([], [ACCURACY, LATENCY]).shape == (0, 2)


COSTS = make_spec(objectives=["size", "latency"])
BASELINE = make_record("baseline", size_bytes=1000, latency_ms=100, accuracy=0.9)


def test_hypervolume_of_nothing_is_zero() -> None:
    assert hypervolume([], BASELINE, COSTS) == 0.0


def test_hypervolume_of_the_baseline_alone_is_one() -> None:
    # The baseline stands at (0, 0) and the reference point, ten times it, at (1, 1).
    assert hypervolume([BASELINE], BASELINE, COSTS) == pytest.approx(1.0)


def test_hypervolume_of_two_cells_is_their_union() -> None:
    # In tenfolds below the baseline: a at (-1, 0) covers 2 x 1, b at (0, -1) covers 1 x 2; both cover 1 x 1.
    a = make_record("a", size_bytes=100, latency_ms=100)
    b = make_record("b", size_bytes=1000, latency_ms=10)
    assert hypervolume([a], BASELINE, COSTS) == pytest.approx(2.0)
    assert hypervolume([a, b], BASELINE, COSTS) == pytest.approx(3.0)


def test_hypervolume_of_losses_is_that_of_their_records() -> None:
    found = [make_record("a", size_bytes=100, latency_ms=100), make_record("b", size_bytes=1000, latency_ms=10)]
    losses = loss_values(found, COSTS.chosen_objectives())
    assert hypervolume_of_losses(losses, BASELINE, COSTS) == pytest.approx(3.0)
    assert hypervolume_of_losses(losses[:0], BASELINE, COSTS) == 0.0


def test_hypervolume_ignores_what_lies_beyond_the_reference_point() -> None:
    slow = make_record("slow", size_bytes=1, latency_ms=1001)
    assert hypervolume([slow], BASELINE, COSTS) == 0.0
    assert hypervolume([BASELINE, slow], BASELINE, COSTS) == pytest.approx(1.0)


def test_hypervolume_does_not_count_dominated_cells_or_duplicates() -> None:
    a = make_record("a", size_bytes=100, latency_ms=100)
    worse = make_record("worse", size_bytes=200, latency_ms=100)
    assert hypervolume([a, a, worse], BASELINE, COSTS) == pytest.approx(2.0)


def test_hypervolume_does_not_move_with_the_units() -> None:
    def in_other_units(record: CellRecord) -> CellRecord:
        figures = {
            "size_bytes": dataclasses.replace(record.figures["size_bytes"], value=record.value("size_bytes") / 1024),
            "latency_ms": dataclasses.replace(record.figures["latency_ms"], value=record.value("latency_ms") * 1e6),
        }
        return dataclasses.replace(record, figures=figures)

    found = [make_record("a", size_bytes=300, latency_ms=70), make_record("b", size_bytes=800, latency_ms=20)]
    expected = hypervolume(found, BASELINE, COSTS)
    moved = hypervolume([in_other_units(r) for r in found], in_other_units(BASELINE), COSTS)
    assert moved == pytest.approx(expected, rel=1e-12)


def test_hypervolume_counts_lost_accuracy_in_parts_of_the_gate() -> None:
    # Half of a drop of 0.02 is lost, at half the size: (1 - 0.5) x (1 + log10 2).
    spec = make_spec(objectives=["accuracy", "size"], gates={"max_accuracy_drop": 0.02})
    found = make_record("a", accuracy=0.89, size_bytes=500)
    assert hypervolume([found], BASELINE, spec) == pytest.approx(0.5 * (1 + math.log10(2)))


def test_hypervolume_takes_a_tenth_as_the_drop_without_a_gate() -> None:
    spec = make_spec(objectives=["accuracy", "size"])
    found = make_record("a", accuracy=0.85, size_bytes=1000)
    assert hypervolume([found], BASELINE, spec) == pytest.approx(0.5)


def test_hypervolume_grows_with_what_is_maximised() -> None:
    spec = make_spec(objectives=["throughput", "size"])
    baseline = make_record("baseline", throughput_per_s=100, size_bytes=1000)
    ten_times = make_record("a", throughput_per_s=1000, size_bytes=1000)
    assert hypervolume([ten_times], baseline, spec) == pytest.approx(2.0)
