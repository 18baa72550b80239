"""A `.tflite` as objects that can be changed, and as a file again."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = ["add_signature", "builtin_code", "code_index", "constant_data", "pack_model", "unpack_model"]

_ALIGNMENT = 16  # What the schema forces on a buffer's data, and kernels may rely on.


def unpack_model(content: bytes) -> Any:
    """The file as the schema's object tree (`ModelT`)."""
    return schema.ModelT.InitFromPackedBuf(bytearray(content))


def builtin_code(code: Any) -> int:
    """An operator code's number; those beyond 126 stand in the second field, older files fill the first only."""
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def code_index(model: Any, number: int, version: int = 1) -> int:
    """The index of an operator code in a model, which is added if it is not there."""
    for index, code in enumerate(model.operatorCodes):
        if builtin_code(code) == number and code.version >= version:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def constant_data(buffer: Any, content: bytes) -> memoryview | None:
    """A constant's bytes, within the flatbuffer or behind it; None for an activation."""
    if buffer.data is not None and len(buffer.data):
        return memoryview(np.asarray(buffer.data, np.uint8).tobytes())
    if buffer.offset > 1:  # an offset of 1 stands for none
        return memoryview(content)[buffer.offset : buffer.offset + buffer.size]
    return None


def pack_model(model: Any, content: bytes) -> bytes:
    """Writes a changed model.

    Its constants stand behind the flatbuffer, by offset and size: the packer would not align them.

    Args:
        model: The object tree; its buffers' data are taken from it.
        content: The file that the tree was read from, which may hold constants behind its flatbuffer.
    """
    constants = {index: data for index, buffer in enumerate(model.buffers) if (data := constant_data(buffer, content))}
    for index in constants:
        # An offset takes the same room whatever its value: the first packing gives the length.
        model.buffers[index].data, model.buffers[index].offset, model.buffers[index].size = None, 2, 1
    offset = _aligned(len(_packed(model)))
    for index, data in constants.items():
        model.buffers[index].offset, model.buffers[index].size = offset, len(data)
        offset += _aligned(len(data))
    parts = (memoryview(_packed(model)), *constants.values())
    return b"".join(piece for data in parts for piece in (data, bytes(-len(data) % _ALIGNMENT)))


def add_signature(float_tflite: bytes) -> bytes:
    """Gives a model without signature one, whose names are those of its tensors.

    Args:
        float_tflite: Any `.tflite`.

    Returns:
        The model with the signature `serving_default`; one that has a signature is given back as it is.
    """
    if schema.Model.GetRootAs(float_tflite, 0).SignatureDefsLength():
        return float_tflite
    model = unpack_model(float_tflite)
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [_named(graph, index) for index in graph.inputs]
    signature.outputs = [_named(graph, index) for index in graph.outputs]
    model.signatureDefs = [signature]
    return pack_model(model, float_tflite)


def _named(graph: Any, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = graph.tensors[index].name, int(index)
    return entry


def _aligned(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
