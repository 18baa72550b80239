"""Changed predictions, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from litefront.objectives.accuracy import wilson_interval
from litefront.objectives.churn import measure_churn

FLOAT = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])


def test_a_changed_prediction_counts_whatever_the_probabilities() -> None:
    churn = measure_churn(np.array([[0.51, 0.49], [0.0, 1.0], [0.4, 0.6], [0.7, 0.3]]), FLOAT)
    assert churn is not None
    assert (churn.value, churn.unit) == (0.5, "fraction")
    assert churn.interval == wilson_interval(2, 4)
    assert churn.source == "changed predictions on 4 rows against the float model"


def test_the_float_model_has_none() -> None:
    churn = measure_churn(FLOAT, FLOAT)
    assert churn is not None and churn.value == 0.0


def test_outputs_of_any_shape_are_a_rows_answers() -> None:
    churn = measure_churn(FLOAT.reshape(4, 1, 1, 2)[:, ..., ::-1], FLOAT.reshape(4, 1, 1, 2))
    assert churn is not None and churn.value == 1.0


@pytest.mark.parametrize(("ours", "expected"), [([0.6, 0.4, 0.5], 1 / 3), ([0.1, 0.9, 0.7], 2 / 3)])
def test_a_single_probability_predicts_by_its_side_of_one_half(ours: list[float], expected: float) -> None:
    churn = measure_churn(np.array(ours)[:, None], np.array([0.9, 0.6, 0.3])[:, None])
    assert churn is not None and churn.value == pytest.approx(expected)


def test_a_number_that_is_no_probability_predicts_no_class() -> None:
    assert measure_churn(np.array([[3.0], [-1.0]]), np.array([[2.9], [-1.1]])) is None
