"""Counts of files whose every byte is known, and of real ones against LiteRT's own reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.quantizer import Quantizer

from litefront.spaces.quantization import Quantization
from litefront.spaces.quantization_recipes import recipe
from litefront.spaces.tflite.file import read_tflite, write_tflite
from litefront.spaces.tflite.graph import TfliteGraph

FLOAT32, FLOAT16, INT8 = Quantization.FLOAT32, Quantization.FLOAT16, Quantization.INT8


@dataclass(frozen=True)
class T:
    """A tensor of a hand-made file; one with data is a constant."""

    type: str = "FLOAT32"
    shape: tuple[int, ...] = (1, 2)
    data: bytes = b""
    zero_point: int = 0
    signature: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Op:
    """An operator of a hand-made file, by the names of its tensors; an empty name is an input that is left out."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def make_tflite(tensors: Mapping[str, T], ops: list[Op], *, external: bool = False, old_codes: bool = False) -> bytes:
    """A `.tflite` with one graph, from the first tensor to the last.

    Args:
        tensors: By name.
        ops: In order.
        external: Keep the constants behind the flatbuffer, by offset and size.
        old_codes: Give the operators' numbers in the field of old files.
    """
    names = list(tensors)
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, model.operatorCodes = [], [], []
    for name, tensor in tensors.items():
        made = schema.TensorT()
        made.name, made.shape, made.type = name, list(tensor.shape), getattr(schema.TensorType, tensor.type)
        made.shapeSignature = list(tensor.signature) if tensor.signature else None
        if not tensor.type.startswith("FLOAT"):
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [1.0], [tensor.zero_point]
        if tensor.data:
            made.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(tensor.data, "u1")
        graph.tensors.append(made)
    for op in ops:
        code = schema.OperatorCodeT()
        number = getattr(schema.BuiltinOperator, op.name)
        code.deprecatedBuiltinCode = min(number, 127)
        code.builtinCode = 0 if old_codes else number
        made_op = schema.OperatorT()
        made_op.opcodeIndex = len(model.operatorCodes)
        made_op.inputs = [names.index(name) if name else -1 for name in op.inputs]
        made_op.outputs = [names.index(name) for name in op.outputs]
        model.operatorCodes.append(code)
        graph.operators.append(made_op)
    graph.inputs, graph.outputs = [0], [len(names) - 1]
    model.subgraphs = [graph]

    return pack_behind(model) if external else pack(model)


def pack_behind(model: schema.ModelT) -> bytes:
    """Packs with the constants behind the flatbuffer, each where any type may be read from."""
    constants = {
        index: np.asarray(buffer.data, "u1").tobytes()
        for index, buffer in enumerate(model.buffers)
        if buffer.data is not None and len(buffer.data)
    }
    for index, data in constants.items():
        # An offset has the same width whatever its value, so the first packing gives the length.
        model.buffers[index].data, model.buffers[index].offset, model.buffers[index].size = None, 2, len(data)
    content = b""
    start = -(-len(pack(model)) // 16) * 16
    for index, data in constants.items():
        model.buffers[index].offset = start + len(content)
        content += data + bytes(-len(data) % 16)
    return pack(model).ljust(start, b"\0") + content


def pack(model: schema.ModelT) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


OPTIONS: dict[int, tuple[str, dict[str, object]]] = {
    schema.BuiltinOperator.SOFTMAX: ("SoftmaxOptions", {"beta": 1.0}),
    schema.BuiltinOperator.ADD: ("AddOptions", {}),
    schema.BuiltinOperator.GATHER: ("GatherOptions", {}),
    schema.BuiltinOperator.FULLY_CONNECTED: ("FullyConnectedOptions", {"keepNumDims": True}),
    schema.BuiltinOperator.CONV_2D: ("Conv2DOptions", {"strideW": 1, "strideH": 1}),
}


def with_options(content: bytes) -> bytes:
    """Gives the operators the options that kernels rely on."""
    external = any(buffer.offset > 1 for buffer in schema.ModelT.InitFromPackedBuf(bytearray(content)).buffers)
    model = read_tflite(content)
    for operator in model.subgraphs[0].operators:
        name, values = OPTIONS[model.operatorCodes[operator.opcodeIndex].builtinCode]
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = getattr(schema, f"{name}T")(**values)
    return pack_behind(model) if external else write_tflite(model)


def fully_connected(weights: T, bias: T | None = None, *, external: bool = False) -> TfliteGraph:
    """A graph of one FULLY_CONNECTED with these weights."""
    tensors = {"x": T(), "w": weights} | ({"b": bias} if bias else {}) | {"y": T()}
    op = Op("FULLY_CONNECTED", ("x", "w", "b" if bias else ""), ("y",))
    return TfliteGraph(make_tflite(tensors, [op], external=external))


@pytest.mark.parametrize("external", [False, True], ids=["inside", "behind"])
@pytest.mark.parametrize(
    ("weights", "zeros"),
    [
        (T("FLOAT32", (2, 2), floats(0.0, 1.0, -0.0, 1e-30)), 2),
        (T("FLOAT16", (2, 2), np.array([0, 1, -0.0, 2], "<f2").tobytes()), 2),
        (T("INT8", (1, 4), bytes([0, 1, 0, 255])), 2),
        (T("INT8", (1, 4), bytes([0, 253, 253, 253]), zero_point=-3), 3),
        (T("UINT8", (1, 4), bytes([0, 128, 128, 1]), zero_point=128), 2),
        (T("INT4", (1, 4), bytes([0x80, 0x00])), 3),  # 0, -8, 0, 0: the low half of a byte comes first
        (T("INT4", (1, 3), bytes([0x80, 0x00])), 2),  # 0, -8, 0, and a half that holds nothing
        (T("INT4", (1, 3), bytes([0xDD, 0x0D]), zero_point=-3), 3),
        (T("INT4", (1, 1), bytes([0x01])), 0),
    ],
)
def test_zeros_are_counted_in_every_type(weights: T, zeros: int, external: bool) -> None:
    (kernel,) = fully_connected(weights, external=external).constants
    assert kernel.zeros() == zeros
    assert kernel.elements == np.prod(weights.shape)


def test_sparsity_is_zeros_by_elements_with_and_without_the_bias() -> None:
    weights, bias = T("FLOAT32", (2, 3), floats(0, 0, 0, 1, 1, 1)), T("FLOAT32", (2,), floats(1, 1))
    facts = fully_connected(weights, bias).facts(FLOAT32)
    assert facts.prunable_sparsity == 3 / 6
    assert facts.overall_sparsity == 3 / 8


def test_weights_are_seen_through_a_dequantize() -> None:
    tensors = {
        "x": T(),
        "w": T("FLOAT16", (2, 2), np.array([0, 1, 2, 3], "<f2").tobytes()),
        "d": T(shape=(2, 2)),
        "y": T(),
    }
    ops = [Op("DEQUANTIZE", ("w",), ("d",)), Op("FULLY_CONNECTED", ("x", "d", ""), ("y",))]
    graph = TfliteGraph(make_tflite(tensors, ops))
    assert graph.weight_types == {"FLOAT16"}
    facts = graph.facts(FLOAT16)
    assert (facts.quantized_share, facts.prunable_sparsity, facts.ops, facts.ops_quantized) == (1.0, 0.25, 1, 1)


def test_weights_that_another_operator_computes_are_no_constants() -> None:
    tensors = {"x": T(), "w": T(shape=(2, 2)), "y": T()}
    graph = TfliteGraph(make_tflite(tensors, [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",))]))
    assert list(graph.constants) == []
    assert graph.weight_types == frozenset()


def test_the_quantized_share_counts_weights_not_operators() -> None:
    tensors = {
        "x": T("INT32", (1,)),
        "table": T("FLOAT32", (1, 2), floats(1, 2)),
        "row": T(),
        "w": T("INT8", (3, 2), bytes([1, 2, 3, 4, 5, 6])),
        "y": T(shape=(1, 3)),
    }
    ops = [Op("GATHER", ("table", "x"), ("row",)), Op("FULLY_CONNECTED", ("row", "w", ""), ("y",))]
    graph = TfliteGraph(make_tflite(tensors, ops))
    facts = graph.facts(Quantization.DYNAMIC_INT8)
    assert graph.weight_types == {"FLOAT32", "INT8"}
    assert (facts.quantized_share, facts.ops, facts.ops_quantized) == (6 / 8, 2, 1)


def test_the_rows_that_a_gather_takes_are_no_weights() -> None:
    tensors = {
        "x": T(),
        "table": T("FLOAT32", (2, 2), floats(0, 0, 1, 1)),
        "rows": T("INT32", (2,), np.array([0, 1], "<i4").tobytes()),
        "y": T(shape=(2, 2)),
    }
    facts = TfliteGraph(make_tflite(tensors, [Op("GATHER", ("table", "rows"), ("y",))])).facts(FLOAT32)
    assert (facts.prunable_sparsity, facts.overall_sparsity) == (0.5, 0.5)


def test_depthwise_weights_count_among_all_but_not_among_the_prunable() -> None:
    tensors = {
        "x": T(shape=(1, 2, 2, 1)),
        "w": T("FLOAT32", (1, 2, 2, 1), floats(0, 0, 0, 1)),
        "y": T(shape=(1, 1, 1, 1)),
    }
    facts = TfliteGraph(make_tflite(tensors, [Op("DEPTHWISE_CONV_2D", ("x", "w", ""), ("y",))])).facts(FLOAT32)
    assert (facts.prunable_sparsity, facts.overall_sparsity, facts.quantized_share) == (0.0, 0.75, 1.0)


def test_the_bias_of_a_transposed_convolution_stands_behind_its_input() -> None:
    tensors = {
        "x": T(shape=(1, 1, 1, 1)),
        "size": T("INT32", (4,), np.array([0, 1, 1, 0], "<i4").tobytes()),
        "w": T("FLOAT32", (1, 2, 1, 1), floats(0, 1)),
        "b": T("FLOAT32", (2,), floats(1, 1)),
        "y": T(shape=(1, 1, 1, 1)),
    }
    facts = TfliteGraph(make_tflite(tensors, [Op("TRANSPOSE_CONV", ("size", "w", "x", "b"), ("y",))])).facts(FLOAT32)
    # One of two weights, of two weights and two biases; its output's size is neither.
    assert (facts.prunable_sparsity, facts.overall_sparsity) == (1 / 2, 1 / 4)


def test_a_graph_without_weights_has_none_of_anything() -> None:
    graph = TfliteGraph(make_tflite({"x": T(), "y": T()}, [Op("SOFTMAX", ("x",), ("y",))]))
    facts = graph.facts(FLOAT32)
    assert (facts.prunable_sparsity, facts.overall_sparsity, facts.quantized_share) == (0.0, 0.0, 0.0)
    assert (facts.ops, facts.ops_quantized) == (1, 0)


def test_static_range_counts_operators_by_their_outputs_and_leaves_the_edges_out() -> None:
    tensors = {"x": T(), "qx": T("INT8"), "qy": T("INT8"), "fy": T(), "y": T()}
    ops = [
        Op("QUANTIZE", ("x",), ("qx",)),
        Op("SOFTMAX", ("qx",), ("qy",)),
        Op("DEQUANTIZE", ("qy",), ("fy",)),
        Op("SOFTMAX", ("fy",), ("y",)),
    ]
    facts = TfliteGraph(make_tflite(tensors, ops)).facts(INT8)
    assert (facts.ops, facts.ops_quantized) == (2, 1)


def test_custom_operators_are_seen() -> None:
    assert TfliteGraph(make_tflite({"x": T(), "y": T()}, [Op("CUSTOM", ("x",), ("y",))])).has_custom_ops
    assert not TfliteGraph(make_tflite({"x": T(), "y": T()}, [Op("SOFTMAX", ("x",), ("y",))])).has_custom_ops


@pytest.mark.parametrize("old_codes", [False, True])
def test_operators_are_named_in_old_files_as_in_new_ones(old_codes: bool) -> None:
    tensors = {"x": T(), "w": T("FLOAT32", (2, 2), floats(1, 1, 1, 1)), "y": T()}
    content = make_tflite(tensors, [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",))], old_codes=old_codes)
    assert TfliteGraph(content).facts(FLOAT32).quantized_share == 1.0


def test_operators_beyond_the_old_field_are_named() -> None:
    tensors = {"x": T(), "h": T(), "y": T()}
    ops = [Op("GELU", ("x",), ("h",)), Op("SOFTMAX", ("h",), ("y",))]
    assert TfliteGraph(make_tflite(tensors, ops)).facts(FLOAT32).ops == 2


def test_inputs_and_outputs_have_their_shapes_and_types() -> None:
    tensors = {"x": T(shape=(1, 4), signature=(-1, 4)), "y": T("INT8", (1, 3))}
    graph = TfliteGraph(make_tflite(tensors, [Op("SOFTMAX", ("x",), ("y",))]))
    (taken,), (given,) = graph.inputs, graph.outputs
    assert (taken.name, taken.type, taken.shape, taken.shape_signature) == ("x", "FLOAT32", (1, 4), (-1, 4))
    assert (given.name, given.type, given.shape, given.shape_signature) == ("y", "INT8", (1, 3), (1, 3))


# ---------------------------------------------------------------------------------------------------- real files


@pytest.mark.parametrize("quantization", [FLOAT32, Quantization.DYNAMIC_INT8, INT8, Quantization.INT16X8])
def test_zeros_are_those_that_litert_reads(
    quantization: Quantization, candidate_files: dict[tuple[Quantization, int], Path]
) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    path = candidate_files[quantization, 1]
    without = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=without)
    interpreter.allocate_tensors()
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    zeros = elements = 0
    for op in interpreter._get_ops_details():
        if op["op_name"] in ("CONV_2D", "FULLY_CONNECTED"):
            detail = details[op["inputs"][1]]
            kernel = interpreter.get_tensor(detail["index"])
            points = detail["quantization_parameters"]["zero_points"]
            zeros += int(np.sum(kernel == (points[0] if len(points) else 0)))
            elements += kernel.size
    assert elements == 936
    assert TfliteGraph(path.read_bytes()).facts(quantization).prunable_sparsity == zeros / elements


def test_zeros_are_counted_where_the_quantizer_keeps_large_weights_behind_the_flatbuffer() -> None:
    # It does so from 256 KiB: 384 x 384 weights of 2 bytes are 288 KiB.
    weights = np.random.default_rng(0).normal(size=(384, 384)).astype("<f4")
    weights[:, ::4] = 0
    tensors = {"x": T(shape=(1, 384)), "w": T(shape=(384, 384), data=weights.tobytes()), "y": T(shape=(1, 384))}
    float_tflite = make_tflite(tensors, [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",))])
    content = bytes(Quantizer(float_tflite, recipe(FLOAT16)).quantize().quantized_model)
    model = schema.Model.GetRootAs(content, 0)
    assert any(model.Buffers(index).Offset() > 1 for index in range(model.BuffersLength()))
    facts = TfliteGraph(content).facts(FLOAT16)
    assert (facts.prunable_sparsity, facts.quantized_share) == (0.25, 1.0)
