"""`.tflite` files as objects that can be changed, and back as bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from litefront.spaces.tflite.builder import TfliteBuilder

__all__ = [
    "add_constant",
    "add_signature",
    "code_index",
    "constant_data",
    "drop_unused",
    "operator_code",
    "read_tflite",
    "rename_signature",
    "set_signature",
    "share_zero_points",
    "stateful_operators",
    "write_tflite",
]

_LARGEST_BYTES = 2_000_000_000  # a flatbuffer's references are of 31 bits
_SERVING = b"serving_default"
_STATEFUL = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")


def read_tflite(content: bytes) -> Any:
    """Gives a file's `ModelT`, with every constant inside."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        # Large constants may stand behind the flatbuffer, by offset and size; an offset of 1 stands for none.
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, "u1", buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    return model


def write_tflite(model: Any) -> bytes:
    """Gives the bytes of a `ModelT`."""
    builder = TfliteBuilder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def share_zero_points(content: bytes) -> bytes:
    """Stores equal lists of zero points once.

    Args:
        content: A `.tflite`.

    Returns:
        The same model, or the same bytes if they would not become fewer.
    """
    if len(content) > _LARGEST_BYTES:
        return content
    return min(content, write_tflite(read_tflite(content)), key=len)


def constant_data(model: Any, tensor: Any) -> memoryview | None:
    """A constant tensor's bytes; None for an activation."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or not len(data) else memoryview(np.asarray(data, np.uint8).tobytes())


def code_index(model: Any, number: int, version: int = 1) -> int:
    """The index of an operator code in a model, which is added if it is not there."""
    for index, code in enumerate(model.operatorCodes):
        if _number(code) == number and code.version >= version:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def operator_code(model: Any, operator: Any) -> int:
    """An operator's number in `schema.BuiltinOperator`."""
    return _number(model.operatorCodes[operator.opcodeIndex])


def _number(code: Any) -> int:
    # Operators beyond 126 stand in the second field; older files fill the first only.
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def stateful_operators(model: Any) -> list[str]:
    """The names of the operators by which a model keeps state from call to call, of its `ModelT` or its bytes."""
    model = read_tflite(model) if isinstance(model, bytes) else model
    codes = {operator_code(model, operator) for graph in model.subgraphs for operator in graph.operators}
    return sorted(name for name in _STATEFUL if getattr(schema.BuiltinOperator, name) in codes)


def add_constant(model: Any, values: np.ndarray) -> int:
    """Adds a buffer of these values; gives its number."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), "u1")
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def set_signature(model: Any, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
    """Makes these names the only signature, that of the first graph."""
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = _SERVING, 0
    signature.inputs, signature.outputs = _tensor_maps(inputs), _tensor_maps(outputs)
    model.signatureDefs = [signature]


def _tensor_maps(names: Mapping[str, int]) -> list[Any]:
    maps = []
    for name, index in names.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        maps.append(entry)
    return maps


def add_signature(content: bytes) -> bytes:
    """Gives a model without signature one, whose names are those of its tensors; one that has any stays as it is."""
    if schema.Model.GetRootAs(content, 0).SignatureDefsLength():
        return content
    model = read_tflite(content)
    graph = model.subgraphs[0]
    inputs, outputs = ({graph.tensors[i].name.decode(): int(i) for i in ends} for ends in (graph.inputs, graph.outputs))
    set_signature(model, inputs, outputs)
    return write_tflite(model)


def rename_signature(content: bytes, names: Mapping[str, str]) -> bytes:
    """Gives the inputs and outputs of a file's only signature other names."""
    model = read_tflite(content)
    (signature,) = model.signatureDefs
    for entry in (*signature.inputs, *signature.outputs):
        entry.name = names[entry.name.decode()].encode()
    return write_tflite(model)


def drop_unused(model: Any) -> None:
    """Takes away the tensors and constants that nothing refers to any more."""
    for number, graph in enumerate(model.subgraphs):
        signatures = [signature for signature in model.signatureDefs or [] if signature.subgraphIndex == number]
        _drop_tensors(graph, signatures)
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    # Number 0 stands for "none".
    used = sorted({0} | {tensor.buffer for tensor in tensors} | {entry.buffer for entry in model.metadata or []})
    places = {old: new for new, old in enumerate(used)}
    model.buffers = [model.buffers[index] for index in used]
    for holder in (*tensors, *(model.metadata or [])):
        holder.buffer = places[holder.buffer]


def _drop_tensors(graph: Any, signatures: Sequence[Any]) -> None:
    used = {int(index) for indices in _references(graph) for index in indices if index >= 0}
    places = {old: new for new, old in enumerate(sorted(used))} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in sorted(used)]
    graph.inputs, graph.outputs = ([places[int(i)] for i in indices] for indices in (graph.inputs, graph.outputs))
    for operator in graph.operators:
        operator.inputs = [places[int(index)] for index in _indices(operator.inputs)]
        operator.outputs = [places[int(index)] for index in _indices(operator.outputs)]
        operator.intermediates = [places[int(index)] for index in _indices(operator.intermediates)] or None
    for signature in signatures:
        for entry in (*(signature.inputs or []), *(signature.outputs or [])):
            entry.tensorIndex = places[entry.tensorIndex]


def _references(graph: Any) -> Iterator[Sequence[int]]:
    yield _indices(graph.inputs)
    yield _indices(graph.outputs)
    for operator in graph.operators:
        yield _indices(operator.inputs)
        yield _indices(operator.outputs)
        yield _indices(operator.intermediates)


def _indices(found: Any) -> Sequence[int]:
    return [] if found is None else list(found)
