"""Other batches of a file: believed only where every row is answered as by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from litefront.spaces.base_model import save_keras
from litefront.spaces.batch_size import convert
from litefront.spaces.errors import CandidateError
from litefront.spaces.model_interface import tflite_interface
from litefront.spaces.tensorflow_environment import import_keras, import_tensorflow
from litefront.spaces.tflite.batch import batch_refusal, with_batch
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.tflite.intake import take_in
from tests.conftest import run_rows

Rows = tuple[np.ndarray, np.ndarray]


def shapes(content: bytes, batch_size: int) -> dict[str, tuple[int, ...]]:
    return {spec.name: (batch_size, *spec.shape[1:]) for spec in tflite_interface(content).inputs}


@pytest.mark.parametrize(("made_for", "wanted"), [(1, 4), (4, 1), (4, 3)])
def test_a_file_of_another_batch_answers_each_row_as_before(
    made_for: int, wanted: int, float_tflites: dict[int, bytes], rows: Rows
) -> None:
    content = float_tflites[made_for]
    other = with_batch(content, shapes(content, wanted))
    graph = TfliteGraph(other)
    assert [tensor.shape[0] for tensor in graph.inputs + graph.outputs] == [wanted, wanted]
    np.testing.assert_allclose(run_rows(other, rows[0]), run_rows(content, rows[0]), atol=1e-6)
    assert batch_refusal(content, rows[0]) is None


def test_a_file_of_that_batch_already_is_given_back_as_it_is(float_tflites: dict[int, bytes]) -> None:
    assert with_batch(float_tflites[4], shapes(float_tflites[4], 4)) == float_tflites[4]


def test_a_free_batch_becomes_static(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> None:
    tf, keras = import_tensorflow(), import_keras()
    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    content = take_in(bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert()), "m", "serving_default")
    assert tflite_interface(content).inputs[0].shape == (-1, 8, 8, 1)
    static = with_batch(content, shapes(content, 4))
    assert all(-1 not in tensor.shape_signature for tensor in TfliteGraph(static).inputs + TfliteGraph(static).outputs)
    np.testing.assert_allclose(run_rows(static, rows[0]), np.asarray(model(rows[0])), atol=1e-5)


def test_rows_that_are_mixed_are_found_by_their_answers(tmp_path_factory: pytest.TempPathFactory) -> None:
    tf, keras = import_tensorflow(), import_keras()

    class LessTheOtherRow(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs - tf.reverse(inputs, [0])

    model = keras.Sequential([keras.layers.Input((4,)), LessTheOtherRow(name="less")])
    kept = save_keras(model, tmp_path_factory.mktemp("mixed"))
    content = convert(replace(kept, custom_objects={"LessTheOtherRow": LessTheOtherRow}), 2)
    refusal = batch_refusal(content, np.random.default_rng(0).random((5, 4), np.float32))
    assert refusal == "in batches of 1 its output less is another than in those of 2"


def test_shapes_that_litert_does_not_take_are_refused(float_tflites: dict[int, bytes]) -> None:
    (spec,) = tflite_interface(float_tflites[1]).inputs
    with pytest.raises(CandidateError, match="LiteRT does not take inputs of "):
        with_batch(float_tflites[1], {spec.name: (1, 5, 5, 1)})
