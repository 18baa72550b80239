"""The sequential test against sums by hand, and its errors by simulation over many orders of the rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from litefront.objectives.accuracy import wilson_interval
from litefront.objectives.screening import PairedScores, Verdict, look_ends, row_order

Scores = NDArray[np.float64]
MAX_DROP = 0.02
ROWS = 1600
REPETITIONS = 1000


def right_or_wrong(rows: int, *, only_baseline: int, only_candidate: int) -> tuple[Scores, Scores]:
    """Scores of a candidate and the baseline, both right on the rows that are left."""
    scores, baseline = np.ones(rows), np.ones(rows)
    scores[:only_baseline] = 0.0
    baseline[only_baseline : only_baseline + only_candidate] = 0.0
    return scores, baseline


# ----------------------------------------------------------------------------------------------------- looks


@pytest.mark.parametrize(
    ("rows", "ends"),
    [(0, []), (1, []), (399, []), (400, [100]), (800, [100, 200]), (1000, [125, 250]), (1600, [100, 200, 400])],
)
def test_looks_grow_and_none_is_smaller_than_a_hundred_rows(rows: int, ends: list[int]) -> None:
    assert look_ends(rows) == ends


def test_rows_are_looked_at_in_a_fixed_order_that_is_not_the_datas() -> None:
    order = row_order(1000)
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    np.testing.assert_array_equal(order, row_order(1000))
    # Of data that is sorted by class, the first look has some of each tenth.
    assert set(order[:100] // 100) == set(range(10))


# ----------------------------------------------------------------------------------------------- paired scores


def test_looks_add_up_to_what_one_look_at_all_rows_gives() -> None:
    rng = np.random.default_rng(0)
    scores, baseline = rng.random((2, 300))
    parts = PairedScores.of(scores[:120], baseline[:120]) + PairedScores.of(scores[120:], baseline[120:])
    whole = PairedScores.of(scores, baseline)
    assert vars(PairedScores() + parts) == pytest.approx(vars(whole))
    assert (whole.accuracy, whole.drop) == pytest.approx((scores.mean(), baseline.mean() - scores.mean()))


def test_the_interval_of_right_or_wrong_scores_is_agrestis_and_mins() -> None:
    # By hand: half a row more in each cell: 104 rows, 20.5 only the baseline has, 8.5 only the candidate; at one look
    # 12 / 104 -+ 1.96 x sqrt(29 - 12^2 / 104) / 104 = 0.11538 -+ 0.09904.
    seen = PairedScores.of(*right_or_wrong(102, only_baseline=20, only_candidate=8))
    assert seen.drop_interval(1) == pytest.approx((0.01635, 0.21442), abs=2e-5)


def test_the_interval_of_other_scores_is_students() -> None:
    rng = np.random.default_rng(0)
    drops = rng.normal(0.1, 1.0, size=120)
    seen = PairedScores.of(-drops, np.zeros(120))
    # 1.9801 is the 97.5 % point of Student's distribution with 119 degrees of freedom, from tables.
    half_width = 1.9801 * drops.std(ddof=1) / math.sqrt(120)
    assert seen.drop_interval(1) == pytest.approx((drops.mean() - half_width, drops.mean() + half_width), abs=1e-4)


def test_more_looks_make_wider_intervals() -> None:
    seen = PairedScores.of(*right_or_wrong(200, only_baseline=20, only_candidate=8))
    intervals = [seen.drop_interval(looks) for looks in (1, 2, 3)]
    assert all(low < lower and high > higher for (lower, higher), (low, high) in pairwise(intervals))


def test_the_accuracy_of_right_or_wrong_scores_has_wilsons_interval() -> None:
    seen = PairedScores.of(*right_or_wrong(100, only_baseline=10, only_candidate=0))
    assert seen.accuracy_interval() == wilson_interval(90, 100)


def test_scores_between_right_and_wrong_are_told_from_one_row_on() -> None:
    scores, baseline = right_or_wrong(100, only_baseline=0, only_candidate=0)
    scores[3] = 0.5
    assert PairedScores.of(*right_or_wrong(100, only_baseline=0, only_candidate=0)).right_or_wrong
    assert not PairedScores.of(scores, baseline).right_or_wrong
    low, high = PairedScores.of(scores, baseline).accuracy_interval()
    assert low < 0.995 < high


def test_a_candidate_that_scores_as_the_baseline_does_has_no_drop_to_doubt() -> None:
    scores = np.random.default_rng(0).random(200)
    assert PairedScores.of(scores, scores).drop_interval(3) == (0.0, 0.0)
    assert PairedScores.of(scores, scores).verdict(MAX_DROP, 3) is Verdict.ABOVE


# ------------------------------------------------------------------------------------------------------ errors


def judge(order: NDArray[np.int64], scores: Scores, baseline: Scores) -> tuple[int, Verdict]:
    """At which look it ends, and how, when the rows are looked at in this order."""
    seen, ends = PairedScores(), look_ends(len(order))
    for look, (first, last) in enumerate(pairwise((0, *ends))):
        picked = order[first:last]
        seen += PairedScores.of(scores[picked], baseline[picked])
        verdict = seen.verdict(MAX_DROP, len(ends))
        if verdict is not Verdict.OPEN:
            return look, verdict
    return len(ends) - 1, Verdict.OPEN


def verdicts(scores: Scores, baseline: Scores) -> Iterator[tuple[int, Verdict]]:
    """The same for many orders of the rows."""
    rng = np.random.default_rng(0)
    return (judge(rng.permutation(len(scores)), scores, baseline) for _ in range(REPETITIONS))


def rejected_share(scores: Scores, baseline: Scores) -> float:
    return float(np.mean([verdict is Verdict.BELOW for _, verdict in verdicts(scores, baseline)]))


@pytest.mark.parametrize("rows", [400, 1000, 1600, 16_000])
@pytest.mark.parametrize("gained_share", [0.0, 0.01, 0.1, 0.4])
def test_a_candidate_at_the_gate_is_wrongly_rejected_in_at_most_five_of_a_hundred_cases(
    rows: int, gained_share: float
) -> None:
    gained = int(rows * gained_share)
    scores, baseline = right_or_wrong(rows, only_baseline=int(rows * MAX_DROP) + gained, only_candidate=gained)
    assert baseline.mean() - scores.mean() == pytest.approx(MAX_DROP)
    assert rejected_share(scores, baseline) <= 0.05


@pytest.mark.parametrize("skew", ["normal", "few large losses", "few large gains"])
def test_the_same_holds_for_scores_that_are_not_right_or_wrong(skew: str) -> None:
    rng = np.random.default_rng(1)
    drops = {
        "normal": rng.normal(size=ROWS),
        "few large losses": rng.exponential(size=ROWS),
        "few large gains": -rng.exponential(size=ROWS),
    }[skew]
    drops += MAX_DROP - drops.mean()
    assert rejected_share(-drops, np.zeros(ROWS)) <= 0.05


@pytest.mark.parametrize("rows", [400, 1000, 1600])
@pytest.mark.parametrize(("gained_share", "at_least"), [(0.0, 1.0), (0.01, 1.0), (0.05, 0.99)])
def test_a_hopeless_candidate_ends_at_the_first_look(rows: int, gained_share: float, at_least: float) -> None:
    gained = int(rows * gained_share)
    scores, baseline = right_or_wrong(rows, only_baseline=int(rows * 0.3) + gained, only_candidate=gained)
    assert np.mean([ended == (0, Verdict.BELOW) for ended in verdicts(scores, baseline)]) >= at_least


def test_a_candidate_as_good_as_the_baseline_is_never_rejected_and_soon_passed_on() -> None:
    scores, baseline = right_or_wrong(16_000, only_baseline=80, only_candidate=80)
    assert set(verdicts(scores, baseline)) == {(0, Verdict.ABOVE)}
