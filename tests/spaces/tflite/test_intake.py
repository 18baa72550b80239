"""What a `.tflite` must be to start from, and that taking it in changes none of its answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from litefront.spaces.base_model import BaseModel, load_keras
from litefront.spaces.errors import InputError
from litefront.spaces.model_interface import tflite_interface
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.tensorflow_environment import import_tensorflow
from litefront.spaces.tflite.file import read_tflite, write_tflite
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.tflite.intake import take_in
from tests.conftest import run_rows
from tests.spaces.tflite.test_graph import Op, T, floats, make_tflite

Rows = tuple[np.ndarray, np.ndarray]
MODEL, DEFAULT = "model.tflite", "serving_default"


def without_signature(content: bytes) -> bytes:
    model = read_tflite(content)
    model.signatureDefs = None
    return write_tflite(model)


def sparse_float16(model: BaseModel) -> bytes:
    """As phones are given it: half precision, without its zeros, of which there are nine in ten."""
    tf = import_tensorflow()
    keras_model = load_keras(model)
    weights = [np.where(np.abs(w) < np.quantile(np.abs(w), 0.9), 0, w) for w in keras_model.get_weights()]
    keras_model.set_weights(weights)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras_model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def test_a_float_file_with_a_signature_is_taken_as_it_is(float_tflites: dict[int, bytes]) -> None:
    assert take_in(float_tflites[4], MODEL, DEFAULT) == float_tflites[4]


def test_the_quantizer_finds_the_operators_of_an_older_file(float_tflites: dict[int, bytes], rows: Rows) -> None:
    model = read_tflite(float_tflites[4])
    for code in model.operatorCodes:
        code.deprecatedBuiltinCode, code.builtinCode = code.builtinCode, 0
    taken = take_in(write_tflite(model), MODEL, DEFAULT)
    quantized = quantize(taken, Quantization.DYNAMIC_INT8)
    assert TfliteGraph(quantized).facts(Quantization.DYNAMIC_INT8).quantized_share == 1.0
    np.testing.assert_array_equal(run_rows(taken, rows[0]), run_rows(float_tflites[4], rows[0]))


def test_half_precision_is_widened_and_the_answers_stay_to_the_bit(
    candidate_files: dict[tuple[Quantization, int], Path], rows: Rows
) -> None:
    content = candidate_files[Quantization.FLOAT16, 4].read_bytes()
    taken = take_in(content, MODEL, DEFAULT)
    graph = TfliteGraph(taken)
    assert graph.weight_types == {"FLOAT32"}
    assert "DEQUANTIZE" not in {operator.name for operator in graph.operators}
    np.testing.assert_array_equal(run_rows(taken, rows[0]), run_rows(content, rows[0]))


def test_weights_without_their_zeros_are_made_whole(keras_classifier: BaseModel, rows: Rows) -> None:
    content = sparse_float16(keras_classifier)
    assert "DENSIFY" in {operator.name for operator in TfliteGraph(content).operators}
    taken = take_in(content, MODEL, DEFAULT)
    graph = TfliteGraph(taken)
    assert {operator.name for operator in graph.operators}.isdisjoint({"DENSIFY", "DEQUANTIZE"})
    assert graph.facts(Quantization.FLOAT32).prunable_sparsity == pytest.approx(0.9, abs=0.02)
    np.testing.assert_allclose(run_rows(taken, rows[0][:3]), run_rows(content, rows[0][:3]), rtol=1e-5, atol=1e-6)


def test_a_file_without_a_signature_gets_one_by_the_names_of_its_tensors(
    float_tflites: dict[int, bytes], rows: Rows
) -> None:
    bare = without_signature(float_tflites[4])
    taken = take_in(bare, MODEL, DEFAULT)
    (signature,) = Interpreter(model_content=taken).get_signature_list().values()
    (name,) = signature["inputs"]
    assert name == TfliteGraph(bare).inputs[0].name == tflite_interface(taken).inputs[0].name
    np.testing.assert_array_equal(run_rows(taken, rows[0]), run_rows(bare, rows[0]))


def test_tensors_of_one_name_get_names_of_their_own() -> None:
    content = make_tflite({"x": T(), "y": T(), "z": T()}, [Op("ADD", ("x", "y"), ("z",))])
    model = read_tflite(content)
    model.subgraphs[0].tensors[1].name, model.subgraphs[0].inputs = b"x", [0, 1]
    interface = tflite_interface(take_in(write_tflite(model), MODEL, DEFAULT))
    assert [spec.name for spec in interface.inputs] == ["x", "x_1"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no model", "has not the mark of a `.tflite` file"),
        (
            make_tflite({"x": T(), "y": T()}, [Op("CUSTOM", ("x",), ("y",))]),
            "LiteRT's own operators, but .* custom ones",
        ),
        (
            make_tflite({"v": T("RESOURCE", ()), "y": T()}, [Op("READ_VARIABLE", ("v",), ("y",))]),
            "answer each row by itself, but model.tflite keeps state from call to call: READ_VARIABLE",
        ),
        (
            make_tflite(
                {"x": T("INT8"), "w": T("INT8", (2, 2), bytes(4)), "y": T("INT8")},
                [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",))],
            ),
            "float32 or float16 weights to start from, but model.tflite has .'INT8'",
        ),
        (
            make_tflite({"x": T("FLOAT16"), "y": T("FLOAT16")}, [Op("ADD", ("x", "x"), ("y",))]),
            "float32 or float16 weights to start from, but model.tflite has .'FLOAT16'",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        take_in(content, MODEL, DEFAULT)


def test_a_custom_operator_is_refused_by_its_name() -> None:
    model = read_tflite(make_tflite({"x": T(), "y": T()}, [Op("CUSTOM", ("x",), ("y",))]))
    model.operatorCodes[0].customCode = b"TransformLandmarks"
    with pytest.raises(InputError, match="has custom ones: TransformLandmarks"):
        take_in(write_tflite(model), MODEL, DEFAULT)


def test_one_of_several_signatures_is_taken_by_its_name(float_tflites: dict[int, bytes]) -> None:
    model = read_tflite(float_tflites[1])
    (first,) = model.signatureDefs
    other = read_tflite(float_tflites[1]).signatureDefs[0]
    other.signatureKey, other.inputs[0].name = b"other", b"picture"
    model.signatureDefs = [first, other]
    two = write_tflite(model)
    assert tflite_interface(take_in(two, MODEL, "other")).inputs[0].name == "picture"
    with pytest.raises(InputError, match=r"signature `third`, but model.tflite has \['other', 'serving_default'\]"):
        take_in(two, MODEL, "third")


def test_weights_behind_the_flatbuffer_are_kept() -> None:
    tensors = {"x": T(), "w": T("FLOAT32", (2, 2), floats(1, 2, 3, 4)), "y": T()}
    content = make_tflite(tensors, [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",))], external=True)
    (constant,) = TfliteGraph(take_in(content, MODEL, DEFAULT)).constants
    assert constant.data == floats(1, 2, 3, 4)
