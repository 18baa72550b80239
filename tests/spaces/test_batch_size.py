"""Conversion makes the batch a constant, and changes nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from litefront.spaces.base_model import BaseModel, ModelFormat, load_keras, save_keras
from litefront.spaces.batch_size import convert
from litefront.spaces.errors import CandidateError
from litefront.spaces.model_interface import tflite_interface
from litefront.spaces.tensorflow_environment import import_keras, import_keras3, import_tensorflow
from litefront.spaces.tflite.graph import TfliteGraph
from tests.conftest import BATCHES, run_rows


@pytest.mark.parametrize("batch_size", BATCHES)
def test_every_shape_is_static(batch_size: int, float_tflites: dict[int, bytes]) -> None:
    graph = TfliteGraph(float_tflites[batch_size])
    for tensor, shape in zip(graph.inputs + graph.outputs, [(batch_size, 8, 8, 1), (batch_size, 3)], strict=True):
        assert tensor.shape == tensor.shape_signature == shape


@pytest.mark.parametrize("batch_size", BATCHES)
def test_no_operator_computes_a_shape(batch_size: int, float_tflites: dict[int, bytes]) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    without = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=float_tflites[batch_size], experimental_op_resolver_type=without)
    interpreter.allocate_tensors()
    names = [op["op_name"] for op in interpreter._get_ops_details()]
    assert names == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]


@pytest.mark.parametrize("batch_size", BATCHES)
def test_a_converted_model_answers_as_the_keras_one(
    batch_size: int, float_tflites: dict[int, bytes], keras_classifier: BaseModel, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    expected = np.asarray(load_keras(keras_classifier)(rows[0], training=False))
    np.testing.assert_allclose(run_rows(float_tflites[batch_size], rows[0]), expected, atol=1e-5)


def test_a_converted_model_has_a_signature_to_calibrate_by(float_tflites: dict[int, bytes]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    (signature,) = Interpreter(model_content=float_tflites[1]).get_signature_list().values()
    assert len(signature["inputs"]) == len(signature["outputs"]) == 1


def test_a_tflite_is_given_back_as_it_is(float_tflites: dict[int, bytes], tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(float_tflites[4])
    assert convert(BaseModel(path, ModelFormat.TFLITE, {}), 4) == float_tflites[4]


def test_layers_answer_as_in_inference_not_as_in_training(tmp_path: Path) -> None:
    keras = import_keras()
    layers = [keras.layers.BatchNormalization(), keras.layers.Dropout(0.9)]
    model = keras.Sequential([keras.layers.Input((5,)), *layers])
    inputs = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    content = convert(save_keras(model, tmp_path), 4)
    # Untrained: mean 0 and variance 1, and an epsilon of 0.001 under the root.
    np.testing.assert_allclose(run_rows(content, inputs), inputs / np.sqrt(1.001), rtol=1e-5)


@pytest.mark.parametrize("name", ["images/raw:0", "a b", "1st"])
def test_an_input_may_bear_any_name_that_keras_takes(name: str, tmp_path: Path) -> None:
    keras = import_keras()
    image = keras.layers.Input((4,), name=name)
    model = keras.Model(image, keras.layers.Dense(2)(image))
    (spec,) = tflite_interface(convert(save_keras(model, tmp_path), 2)).inputs
    assert (spec.name, spec.shape) == (name, (2, 4))


@pytest.mark.parametrize("load", [import_keras, import_keras3])
def test_a_model_of_several_inputs_and_outputs_keeps_their_names_and_order(
    load: Callable[[], Any], tmp_path: Path
) -> None:
    keras = load()
    left, right = keras.layers.Input((2,), name="z_left"), keras.layers.Input((3,), name="a_right", dtype="int32")
    # More than ten, whose numbers sort otherwise than their names; and one that is no float.
    outputs = [keras.layers.Dense(n + 1, name=f"dense_{n}")(left) for n in range(11)]
    outputs.append(keras.layers.Reshape((3, 1), name="same")(right))
    model = keras.Model([left, right], outputs)
    kept = save_keras(model, tmp_path)
    content = convert(kept, 2)
    interface = tflite_interface(content)
    assert [(spec.name, spec.shape, spec.dtype) for spec in interface.inputs] == [
        ("z_left", (2, 2), "float32"),
        ("a_right", (2, 3), "int32"),
    ]
    rows = {"z_left": np.array([[1, 2], [3, 4]], np.float32), "a_right": np.arange(6, dtype=np.int32).reshape(2, 3)}
    expected = load_keras(kept)([rows["z_left"], rows["a_right"]])
    answers = Interpreter(model_content=content).get_signature_runner()(**rows)
    assert set(answers) == {spec.name for spec in interface.outputs} == {f"dense_{n}" for n in range(11)} | {"same"}
    for name, answer in zip([f"dense_{n}" for n in range(11)] + ["same"], expected, strict=True):
        np.testing.assert_allclose(answers[name], np.asarray(answer), atol=1e-5)


def test_an_operator_that_litert_lacks_costs_the_candidate(tmp_path: Path) -> None:
    tf, keras = import_tensorflow(), import_keras()

    class Determinant(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return tf.linalg.det(inputs)

    model = keras.Sequential([keras.layers.Input((3, 3)), Determinant()])
    kept = save_keras(model, tmp_path)
    model_with_layer = BaseModel(kept.path, kept.format, {"Determinant": Determinant})
    with pytest.raises(CandidateError, match="TensorFlow could not convert the model: .*MatrixDeterminant"):
        convert(model_with_layer, 1)


def test_a_process_that_has_not_trained_converts_a_model_with_random_operators_whole(tmp_path: Path) -> None:
    keras = import_keras()
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)])
    kept = save_keras(model, tmp_path)
    script = (
        "import sys; from pathlib import Path; from litefront.spaces.base_model import BaseModel, ModelFormat;"
        "from litefront.spaces.batch_size import convert;"
        f"model = BaseModel(Path({str(kept.path)!r}), ModelFormat({kept.format.value!r}), {{}});"
        "sys.stdout.buffer.write(convert(model, 1))"
    )
    content = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    from ai_edge_litert.interpreter import Interpreter

    assert Interpreter(model_content=content).get_signature_list()
