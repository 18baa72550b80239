"""A model of one operator, by which delegates are tried before a study trusts them."""

from __future__ import annotations

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

__all__ = ["probe_model"]

_SHAPE = (1, 4, 4, 4)


def probe_model() -> bytes:
    """A `.tflite` that adds a float32 input of shape (1, 4, 4, 4) to itself: what every delegate for floats takes."""
    model = schema.ModelT()
    model.version = 3
    model.description = "litefront's probe"
    model.operatorCodes = [_add_code()]
    model.buffers = [schema.BufferT()]
    model.subgraphs = [_subgraph()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _add_code() -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 1
    return code


def _subgraph() -> schema.SubGraphT:
    graph, add = schema.SubGraphT(), schema.OperatorT()
    graph.tensors = [_tensor("input"), _tensor("output")]
    graph.inputs, graph.outputs = [0], [1]
    add.inputs, add.outputs = [0, 0], [1]
    add.builtinOptionsType = schema.BuiltinOptions.AddOptions
    add.builtinOptions = schema.AddOptionsT()
    graph.operators = [add]
    return graph


def _tensor(name: str) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, list(_SHAPE), schema.TensorType.FLOAT32
    return tensor
