"""Every metric, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from litefront.objectives.metrics import METRICS, find_metric

OUTPUTS = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3]])  # classes 0, 0, 1, 1
LABELS = np.array([0, 1, 1, 2])


@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS[:, None], np.eye(3)[LABELS], LABELS.astype(np.uint8)],
    ids=["rows", "column", "one-hot", "u1"],
)
def test_top1_takes_class_numbers_and_one_hot_rows(labels: np.ndarray) -> None:
    np.testing.assert_array_equal(METRICS["top1"](OUTPUTS, labels), [1, 0, 1, 0])


def test_top1_takes_outputs_with_further_axes() -> None:
    np.testing.assert_array_equal(METRICS["top1"](OUTPUTS.reshape(4, 1, 1, 3), LABELS), [1, 0, 1, 0])


def test_top5_counts_the_five_highest() -> None:
    outputs = np.array([[6, 5, 4, 3, 2, 1, 0]] * 3, dtype=float)
    np.testing.assert_array_equal(METRICS["top5"](outputs, np.array([0, 4, 5])), [1, 1, 0])


def test_top5_of_fewer_classes_is_always_right() -> None:
    np.testing.assert_array_equal(METRICS["top5"](OUTPUTS, LABELS), [1, 1, 1, 1])


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_binary_compares_the_sides_of_one_half(shape: tuple[int, ...]) -> None:
    outputs = np.array([0.6, 0.4, 0.5, 0.9]).reshape(shape)
    np.testing.assert_array_equal(METRICS["binary"](outputs, np.array([1, 1, 0, 0])), [1, 0, 1, 0])


def test_macro_f1_is_the_mean_over_the_classes_among_the_labels() -> None:
    # Class 0: 1 hit, predicted 2, expected 1; class 1: 1, 2, 2; class 2: 0, 0, 1.
    assert METRICS["macro_f1"](OUTPUTS, LABELS) == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)


def test_macro_f1_leaves_out_classes_without_labels() -> None:
    # Class 0: 1 hit, predicted 2, expected 1; class 1, predicted once, has no label of its own.
    outputs, labels = OUTPUTS[[0, 1, 2]], np.array([0, 2, 2])
    assert METRICS["macro_f1"](outputs, labels) == pytest.approx((2 / 3 + 0) / 2)


def test_neg_mean_squared_error_is_a_rows_mean_and_never_above_zero() -> None:
    outputs, labels = np.array([[1.0, 2.0], [3.0, 3.0]]), np.array([[1.0, 4.0], [3.0, 3.0]])
    np.testing.assert_allclose(METRICS["neg_mean_squared_error"](outputs, labels), [-2.0, 0.0])


def test_neg_mean_squared_error_takes_flat_labels() -> None:
    scores = METRICS["neg_mean_squared_error"](np.array([[1.0], [2.0]]), np.array([3.0, 2.0]))
    np.testing.assert_allclose(scores, [-4.0, 0.0])


def test_argmax_agreement_compares_highest_classes() -> None:
    float_outputs = np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.4, 0.6, 0.0], [0.0, 0.1, 0.9]])
    np.testing.assert_array_equal(METRICS["argmax_agreement"](OUTPUTS, float_outputs), [1, 0, 1, 0])


def test_cosine_by_hand() -> None:
    ours = np.array([[1, 0], [1, 1], [1, 2], [3, 4]], dtype=float)
    theirs = np.array([[0, 5], [1, 0], [-2, -4], [30, 40]], dtype=float)
    np.testing.assert_allclose(METRICS["cosine"](ours, theirs), [0, 1 / math.sqrt(2), -1, 1], atol=1e-12)


def test_cosine_of_zero_rows_is_one_only_where_both_are_zero() -> None:
    ours, theirs = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(METRICS["cosine"](ours, theirs), [1.0, 0.0, 0.0])


def test_cosine_of_large_float32_rows_does_not_overflow() -> None:
    rows = np.full((1, 4), 1e30, dtype=np.float32)
    np.testing.assert_allclose(METRICS["cosine"](rows, rows), [1.0])


@pytest.mark.parametrize("name", METRICS)
def test_a_built_in_metric_is_found_by_its_name_and_leaves_its_inputs(name: str) -> None:
    rng = np.random.default_rng(0)
    outputs, labels = rng.random((6, 1 if name == "binary" else 3)), rng.random((6, 1 if name == "binary" else 3))
    for array in (outputs, labels):
        array.flags.writeable = False
    scores = np.asarray(find_metric(name)(outputs, labels))
    assert scores.shape in ((), (6,))
    assert np.isfinite(scores).all()


def test_a_metric_is_found_by_import_path_or_given_itself() -> None:
    assert find_metric("math:dist") is math.dist
    assert find_metric(math.dist) is math.dist


@pytest.mark.parametrize("name", ["accuracy", "top-1", "", "math.dist", "math:pi"])
def test_an_unknown_metric_names_those_that_there_are(name: str) -> None:
    with pytest.raises(ValueError, match="must be one of top1, top5, .*`package.module:function`, but got"):
        find_metric(name)


@pytest.mark.parametrize(("name", "words"), [("no_such_module:f", "No module named"), ("math:f", "no attribute 'f'")])
def test_an_import_path_that_leads_nowhere_says_why(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"cannot be imported: .*{words}"):
        find_metric(name)
