"""How far a delegate's answers may lie from the built-in kernels'."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from litefront.objectives.fidelity import Fidelity
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization

# Two rows of three outputs, whose range is 8.
EXPECTED = np.array([[0.0, 1.0, 8.0], [4.0, 2.0, 1.0]], np.float32)


def differing(by: float, where: tuple[int, int] = (0, 2)) -> Fidelity:
    answers = EXPECTED.copy()
    answers[where] += by
    return Fidelity.of(answers, EXPECTED)


def test_differences_are_fractions_of_the_range() -> None:
    assert differing(-2.0) == Fidelity(rows=2, largest=0.25, mean=0.25 / 6, same_argmax=1.0)
    assert differing(-8.0).same_argmax == 0.5


def test_equal_answers_are_faithful_for_every_quantization() -> None:
    assert [differing(0.0).refusal(quantization) for quantization in Quantization] == [None] * len(Quantization)


@pytest.mark.parametrize("quantization", Quantization)
def test_answers_of_another_model_are_refused_for_every_quantization(quantization: Quantization) -> None:
    rng = np.random.default_rng(0)
    refusal = Fidelity.of(rng.random((32, 10)), rng.random((32, 10))).refusal(quantization)
    assert refusal is not None
    assert "differ from the built-in kernels' by up to" in refusal
    assert "of the rows have the same largest output" in refusal


def test_a_float_graph_is_held_more_strictly_than_a_quantized_one() -> None:
    a_step = differing(8 * 0.04)
    assert a_step.refusal(Quantization.INT8) is None
    assert a_step.refusal(Quantization.FLOAT32) is not None


def test_kernels_may_lie_as_far_apart_as_the_file_lies_from_the_float_model() -> None:
    # The second row's outputs move by half of the range.
    second = np.array([[0.0], [1.0]], np.float32)
    answers, float_answers = EXPECTED + 4 * second, EXPECTED - 4 * second
    assert Fidelity.of(answers, EXPECTED, EXPECTED).refusal(Quantization.MIXED_INT8) is not None
    beside = Fidelity.of(answers, EXPECTED, float_answers)
    assert (beside.file_largest, beside.file_mean) == (0.5, 0.25)
    assert beside.refusal(Quantization.MIXED_INT8) is None
    # Float kernels have nothing to round.
    assert beside.refusal(Quantization.FLOAT32) is not None
    further = Fidelity.of(EXPECTED + 5 * second, EXPECTED, float_answers)
    assert "where 0.5 and 0.25 are tolerated" in str(further.refusal(Quantization.MIXED_INT8))


def test_a_small_difference_everywhere_is_refused_by_its_mean() -> None:
    everywhere = Fidelity.of(EXPECTED + np.float32(8 * 0.01), EXPECTED)
    assert everywhere.largest == pytest.approx(0.01)
    assert everywhere.refusal(Quantization.FLOAT32) is not None
    assert differing(8 * 0.01).refusal(Quantization.FLOAT32) is None


def test_answers_that_are_not_finite_are_refused_whatever_the_quantization() -> None:
    fidelity = differing(float("nan"))
    assert fidelity.refusal(Quantization.INT8) == "its answers to 2 rows are not all finite"


def test_answers_without_a_range_are_compared_by_their_size() -> None:
    same = np.full((4, 1), 5.0)
    assert Fidelity.of(same + 1.0, same) == Fidelity(4, 0.2, 0.2, None)
    assert Fidelity.of(np.zeros((4, 1)), np.zeros((4, 1))) == Fidelity(4, 0.0, 0.0, None)


def test_answers_of_another_shape_cannot_be_compared() -> None:
    with pytest.raises(CandidateError, match=r"answers of shape \(2, 2\), where the built-in kernels give \(2, 3\)"):
        Fidelity.of(EXPECTED[:, :2], EXPECTED)


def test_it_goes_through_json() -> None:
    fidelity = differing(-2.0)
    assert Fidelity.from_json(asdict(fidelity)) == fidelity


def test_of_several_outputs_the_one_that_differs_most_counts() -> None:
    worse = EXPECTED.copy()
    worse[0, 2] -= 8.0
    several = Fidelity.of({"a": EXPECTED, "b": worse}, {"a": EXPECTED, "b": EXPECTED})
    assert several == Fidelity.of(worse, EXPECTED)
    assert Fidelity.of({"a": worse, "b": EXPECTED * np.nan}, {"a": EXPECTED, "b": EXPECTED}).largest is None
    with pytest.raises(CandidateError, match="outputs a, where the built-in kernels give b"):
        Fidelity.of({"a": EXPECTED}, {"b": EXPECTED})
