"""Accuracy and its interval, against published values and sums by hand."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from litefront.objectives.accuracy import measure_accuracy, wilson_interval
from litefront.objectives.measurement import Provenance
from litefront.spaces.errors import CandidateError, InputError


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # By hand: z^2 = 3.8415, so (90 + 1.92) / 103.84 -+ 1.96 / 103.84 x sqrt(9 + 0.96)
        (90, 100, 0.8256, 0.9448),
    ],
)
def test_wilson_interval_is_the_published_one(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("trials", [1, 2, 10, 100_000])
def test_wilson_interval_mirrors_and_stays_within_zero_and_one(trials: int) -> None:
    for successes in {0, trials // 2, trials}:
        low, high = wilson_interval(successes, trials)
        assert 0.0 <= low <= high <= 1.0
        assert low - 1e-12 <= successes / trials <= high + 1e-12
        assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def one_hot(*classes: int) -> np.ndarray:
    return np.eye(3)[list(classes)]


def test_accuracy_is_the_share_of_right_rows_with_wilsons_interval() -> None:
    outputs, labels = one_hot(*[0] * 100), np.array([0] * 90 + [1] * 10)
    figure = measure_accuracy(outputs, labels, "top1").figure
    assert figure.value == pytest.approx(0.9)
    assert figure.interval == pytest.approx((0.8256, 0.9448), abs=5e-5)
    assert (figure.unit, figure.provenance, figure.source) == ("fraction", Provenance.MEASURED, "top1 on 100 rows")


def test_a_fidelity_says_what_it_compares_with() -> None:
    figure = measure_accuracy(one_hot(0, 1), one_hot(0, 1), "argmax_agreement").figure
    assert figure.source == "argmax_agreement on 2 rows against the float model"


def test_scores_between_right_and_wrong_get_an_interval_around_their_mean() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(400, 1))
    figure = measure_accuracy(outputs, np.zeros((400, 1)), "neg_mean_squared_error").figure
    squares = outputs[:, 0] ** 2
    # The bootstrap of a mean of 400 rows is close to the normal interval.
    half_width = 1.96 * squares.std() / np.sqrt(400)
    assert figure.value == pytest.approx(-squares.mean())
    assert figure.interval == pytest.approx((-squares.mean() - half_width, -squares.mean() + half_width), abs=0.03)
    assert figure.unit == "score"


def test_scores_that_are_all_alike_have_no_width() -> None:
    figure = measure_accuracy(np.ones((5, 1)), np.zeros((5, 1)) + 0.5, "neg_mean_squared_error").figure
    assert (figure.value, figure.interval) == (-0.25, (-0.25, -0.25))


def test_one_row_is_enough() -> None:
    figure = measure_accuracy(one_hot(1), np.array([1]), "top1").figure
    # By hand: 1 / (1 + z^2) = 1 / 4.8415
    assert figure.value == 1.0
    assert figure.interval == pytest.approx((0.2065, 1.0), abs=5e-5)


def test_a_metric_of_one_number_is_resampled_over_rows() -> None:
    outputs, labels = one_hot(*[0] * 50, *[1] * 50), np.array([0] * 40 + [1] * 60)
    figure = measure_accuracy(outputs, labels, "macro_f1").figure
    # Class 0: 2 x 40 / (50 + 40); class 1: 2 x 50 / (50 + 60).
    assert figure.value == pytest.approx((80 / 90 + 100 / 110) / 2)
    assert figure.interval is not None
    low, high = figure.interval
    assert 0.8 < low < figure.value < high < 1.0


def test_a_metric_of_ones_own_is_named_by_its_function() -> None:
    def half(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.full(len(outputs), 0.5)

    figure = measure_accuracy(one_hot(0, 1), np.array([0, 1]), half).figure
    assert (figure.value, figure.unit, figure.source) == (0.5, "score", "half on 2 rows")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite_cost_the_candidate(bad: float) -> None:
    outputs = one_hot(0, 1, 2)
    outputs[1, 1] = bad
    with pytest.raises(CandidateError, match="outputs are not finite"):
        measure_accuracy(outputs, np.array([0, 1, 2]), "top1")


def raising(outputs: np.ndarray, labels: np.ndarray) -> float:
    raise KeyError("no such column")


def test_a_metric_that_raises_is_the_users_to_mend() -> None:
    words = "The metric raising must take outputs of shape (2, 3) and labels of shape (2,), but it raised KeyError"
    with pytest.raises(InputError, match=re.escape(words)):
        measure_accuracy(one_hot(0, 1), np.array([0, 1]), raising)


@pytest.mark.parametrize(
    "result",
    [np.ones(3), np.ones((2, 1)), np.array([1.0, np.nan]), float("nan"), float("inf")],
    ids=["rows", "column", "nan in row", "nan", "inf"],
)
def test_a_metric_must_give_a_finite_score_a_row_or_one(result: Any) -> None:
    def odd(outputs: np.ndarray, labels: np.ndarray) -> Any:
        return result

    with pytest.raises(InputError, match="The metric odd must give one finite score a row"):
        measure_accuracy(one_hot(0, 1), np.array([0, 1]), odd)


@pytest.mark.parametrize("result", [None, "good", {"auc": 1.0}])
def test_a_metric_must_give_numbers(result: Any) -> None:
    def odd(outputs: np.ndarray, labels: np.ndarray) -> Any:
        return result

    with pytest.raises(InputError, match="The metric odd must"):
        measure_accuracy(one_hot(0, 1), np.array([0, 1]), odd)


def smallest_share(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Like an area under a curve: it needs both classes, and raises without."""
    counts = np.bincount(labels, minlength=2)
    if counts.min() == 0:
        raise ValueError("only one class is present")
    return float(counts.min() / counts.sum())


def nan_without_both(outputs: np.ndarray, labels: np.ndarray) -> float:
    counts = np.bincount(labels, minlength=2)
    return float("nan") if counts.min() == 0 else float(counts.min() / counts.sum())


@pytest.mark.parametrize("metric", [smallest_share, nan_without_both])
def test_a_resample_that_the_metric_cannot_score_is_left_out(metric: Any) -> None:
    # One row in ten is of the other class: a third of the resamples (0.9 ** 10) miss it.
    labels = np.array([0] * 9 + [1])
    figure = measure_accuracy(np.zeros((10, 2)), labels, metric).figure
    assert figure.value == pytest.approx(0.1)
    assert figure.interval is not None
    assert figure.interval[0] == pytest.approx(0.1)


def test_answers_of_another_machine_are_called_so() -> None:
    outputs, labels = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1])
    assert measure_accuracy(outputs, labels, "top1").figure.source == "top1 on 2 rows"
    elsewhere = measure_accuracy(outputs, labels, "top1", answers="this machine").figure
    assert elsewhere.source == "top1 on 2 rows, answers of this machine"


def test_one_of_several_outputs_is_scored_by_its_name() -> None:
    outputs = {"a": one_hot(0, 1, 2), "b": one_hot(0, 0, 0)}
    accuracy = measure_accuracy(outputs, np.array([0, 1, 2]), "top1", output="b")
    assert accuracy.figure.value == pytest.approx(1 / 3)
    assert accuracy.figure.source == "top1 of b on 3 rows"


def test_several_outputs_agree_where_each_of_them_does() -> None:
    float_model = {"a": one_hot(0, 1, 2, 0), "b": one_hot(0, 1, 2, 0)}
    outputs = {"a": one_hot(0, 1, 2, 1), "b": one_hot(0, 2, 2, 0)}
    accuracy = measure_accuracy(outputs, float_model, "argmax_agreement")
    assert accuracy.scores is not None and accuracy.scores.tolist() == [1, 0, 1, 0]
    assert measure_accuracy(outputs, float_model, "argmax_agreement", output="a").figure.value == 0.75


def test_several_outputs_make_one_vector_in_which_they_count_alike() -> None:
    # Norms of 1000 and 1: turned by a right angle, either output takes the cosine to one half.
    float_model = {"large": np.array([[1000.0, 0.0]]), "small": np.array([[1.0, 0.0]])}
    for turned in float_model:
        outputs = float_model | {turned: float_model[turned][:, ::-1]}
        assert measure_accuracy(outputs, float_model, "cosine").figure.value == pytest.approx(0.5)


def test_outputs_of_other_names_than_the_float_models_are_refused() -> None:
    with pytest.raises(CandidateError, match="its outputs are a, where the float model's are b"):
        measure_accuracy({"a": one_hot(0)}, {"b": one_hot(0)}, "cosine")
