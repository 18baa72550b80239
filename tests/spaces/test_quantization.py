"""Every mode on a real file: what became of it is counted and run, not believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.tflite.graph import TfliteGraph
from tests.conftest import BATCHES, run_rows
from tests.spaces.tflite.test_graph import Op, T, floats, make_tflite

Candidates = dict[tuple[Quantization, int], Path]

FOUR_BITS = {
    Quantization.DYNAMIC_INT4,
    Quantization.DYNAMIC_INT4_BLOCK32,
    Quantization.WEIGHT_ONLY_INT4,
}
LARGEST_DIFFERENCE = {
    Quantization.FLOAT32: 1e-6,
    Quantization.FLOAT16: 1e-3,
    Quantization.DYNAMIC_INT8: 0.02,
    Quantization.DYNAMIC_INT8_EMBEDDING_INT4: 0.02,
    Quantization.WEIGHT_ONLY_INT8: 0.02,
    Quantization.INT16X8: 0.1,
    Quantization.INT8: 0.15,
    Quantization.MIXED_INT8: 0.15,
    Quantization.MIXED_INT16X8: 0.15,
    Quantization.QAT_INT8: 0.15,
    Quantization.DYNAMIC_INT4: 0.15,
    Quantization.DYNAMIC_INT4_BLOCK32: 0.15,
    Quantization.WEIGHT_ONLY_INT4: 0.15,
}
"""Of class probabilities; the static ranges are calibrated on 22 rows only."""


@pytest.fixture(params=list(Quantization), ids=str)
def quantization(request: pytest.FixtureRequest) -> Quantization:
    return Quantization(request.param)


@pytest.mark.parametrize("batch_size", BATCHES)
def test_every_weight_is_stored_in_the_type_that_was_asked_for(
    quantization: Quantization, batch_size: int, candidate_files: Candidates
) -> None:
    graph = TfliteGraph(candidate_files[quantization, batch_size].read_bytes())
    expected = {Quantization.FLOAT32: "FLOAT32", Quantization.FLOAT16: "FLOAT16"} | dict.fromkeys(FOUR_BITS, "INT4")
    assert graph.weight_types == {expected.get(quantization, "INT8")}
    assert graph.facts(quantization).quantized_share == 1.0


def test_operators_are_counted_as_they_became(quantization: Quantization, candidate_files: Candidates) -> None:
    # A convolution, a reshape, a dense layer and a softmax: static ranges take all four, the others those with weights.
    facts = TfliteGraph(candidate_files[quantization, 4].read_bytes()).facts(quantization)
    expected = 4 if quantization.is_static_range else 2
    assert (facts.ops, facts.ops_quantized) == (4, 0 if quantization is Quantization.FLOAT32 else expected)


@pytest.mark.parametrize("batch_size", BATCHES)
def test_inputs_and_outputs_stay_as_they_were(
    quantization: Quantization, batch_size: int, candidate_files: Candidates
) -> None:
    graph = TfliteGraph(candidate_files[quantization, batch_size].read_bytes())
    (taken,), (given,) = graph.inputs, graph.outputs
    assert (taken.type, taken.shape) == ("FLOAT32", (batch_size, 8, 8, 1))
    assert (given.type, given.shape) == ("FLOAT32", (batch_size, 3))


@pytest.mark.parametrize("batch_size", BATCHES)
def test_a_quantized_model_answers_nearly_as_the_float_one(
    quantization: Quantization,
    batch_size: int,
    candidate_files: Candidates,
    float_tflites: dict[int, bytes],
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    answers = run_rows(candidate_files[quantization, batch_size].read_bytes(), rows[0])
    expected = run_rows(float_tflites[batch_size], rows[0])
    assert np.abs(answers - expected).max() <= LARGEST_DIFFERENCE[quantization]
    assert np.mean(answers.argmax(axis=1) == rows[1]) > 0.9


def test_smaller_types_make_smaller_files(candidate_files: Candidates) -> None:
    sizes = {q: candidate_files[q, 1].stat().st_size for q in Quantization}
    assert sizes[Quantization.FLOAT32] > sizes[Quantization.FLOAT16] > sizes[Quantization.DYNAMIC_INT4]
    # 936 weights of 4, 2 and 1 byte.
    assert sizes[Quantization.FLOAT32] - sizes[Quantization.DYNAMIC_INT8] > 936 * 2


def test_float32_gives_the_same_bytes(float_tflites: dict[int, bytes]) -> None:
    assert quantize(float_tflites[1], Quantization.FLOAT32) is float_tflites[1]


def test_quantizing_leaves_its_inputs_and_says_nothing(
    float_tflites: dict[int, bytes], representative_dataset: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = representative_dataset.copy()
    rows.flags.writeable = False
    quantize(float_tflites[4], Quantization.INT8, representative_dataset=rows)
    np.testing.assert_array_equal(rows, representative_dataset)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_any_number_of_rows_calibrates_any_batch(
    count: int, float_tflites: dict[int, bytes], representative_dataset: np.ndarray
) -> None:
    content = quantize(float_tflites[4], Quantization.INT8, representative_dataset=representative_dataset[:count])
    assert TfliteGraph(content).facts(Quantization.INT8).quantized_share == 1.0
    assert np.isfinite(run_rows(content, representative_dataset)).all()


def test_a_short_group_is_filled_up_with_the_first_rows(
    float_tflites: dict[int, bytes], representative_dataset: np.ndarray
) -> None:
    short, filled = representative_dataset[:6], representative_dataset[[0, 1, 2, 3, 4, 5, 0, 1]]
    contents = [quantize(float_tflites[4], Quantization.INT8, representative_dataset=rows) for rows in (short, filled)]
    assert contents[0] == contents[1]


def test_static_ranges_are_those_of_the_representative_rows(
    float_tflites: dict[int, bytes], representative_dataset: np.ndarray
) -> None:
    # Calibrated on rows a tenth as bright, everything brighter is cut off.
    good, dim = (
        run_rows(quantize(float_tflites[4], Quantization.INT8, representative_dataset=rows), representative_dataset)
        for rows in (representative_dataset, representative_dataset * 0.1)
    )
    expected = run_rows(float_tflites[4], representative_dataset)
    assert np.abs(dim - expected).max() > 3 * np.abs(good - expected).max()


def test_the_same_rows_give_the_same_file(float_tflites: dict[int, bytes], representative_dataset: np.ndarray) -> None:
    first, second = (
        quantize(float_tflites[1], Quantization.INT16X8, representative_dataset=representative_dataset)
        for _ in range(2)
    )
    assert first == second


def test_a_model_without_signature_is_calibrated_like_any() -> None:
    tensors = {"x": T(shape=(1, 2)), "w": T("FLOAT32", (2, 2), floats(1, 2, 3, 4)), "y": T(shape=(1, 2))}
    content = make_tflite(tensors, [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",))])
    rows = np.array([[0, 1], [1, 0], [-1, 1]], np.float32)
    quantized = quantize(content, Quantization.INT8, representative_dataset=rows)
    assert TfliteGraph(quantized).facts(Quantization.INT8).quantized_share == 1.0
    np.testing.assert_allclose(run_rows(quantized, rows), rows @ [[1, 3], [2, 4]], atol=0.05)


def test_rows_of_another_shape_cost_the_candidate(float_tflites: dict[int, bytes]) -> None:
    with pytest.raises(CandidateError, match="^the (quantizer refused int8|file does not run): "):
        quantize(float_tflites[1], Quantization.INT8, representative_dataset=np.zeros((4, 5, 5, 1), np.float32))


def test_only_the_static_ranges_have_integer_activations() -> None:
    activations = {q: q.activation_type for q in Quantization if q.is_static_range}
    assert activations.pop(Quantization.INT16X8) == "INT16"
    assert set(activations.values()) == {"INT8"}
    assert {q.activation_type for q in Quantization if not q.is_static_range} == {"FLOAT32"}
