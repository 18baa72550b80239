"""Sparse storage: zeros are left out of the file, and a DENSIFY puts them back when the model is loaded.

What the converter's `EXPERIMENTAL_SPARSITY` writes, written into a finished file: in seconds less than a conversion,
for models that came as a `.tflite` too, and with the scales and zero points that the file has.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from litefront.spaces.errors import CandidateError
from litefront.spaces.tflite.file import code_index, constant_data, operator_code, read_tflite, write_tflite
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.tflite.model_calls import ModelCalls

__all__ = ["SparseKernels", "SparseStorage", "sparse_kernels", "store_sparsely"]

_Operator = schema.BuiltinOperator
_TYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.FLOAT32: np.dtype("<f4"),
    schema.TensorType.FLOAT16: np.dtype("<f2"),
    schema.TensorType.INT8: np.dtype("i1"),
}
"""What the DENSIFY kernel gives back."""
_KERNELS = {_Operator.CONV_2D: 1, _Operator.FULLY_CONNECTED: 1, _Operator.DEPTHWISE_CONV_2D: 1}


@dataclass(frozen=True)
class SparseStorage:
    """What was stored sparsely.

    Attributes:
        tensors: Weight tensors without their zeros.
        values: Numbers left in them.
        zeros: Numbers left out.
        dense_bytes: Size of the file before.
        sparse_bytes: Size of it now.
    """

    tensors: int
    values: int
    zeros: int
    dense_bytes: int
    sparse_bytes: int

    def to_json(self) -> dict[str, int]:
        """Plain JSON values."""
        return asdict(self)


def store_sparsely(tflite: bytes) -> tuple[bytes, SparseStorage]:
    """Leaves the zeros of the weights out of a file, where that makes a tensor smaller.

    Args:
        tflite: A model with float32, float16 or static int8 weights.

    Returns:
        The model, seen to load and to run, and what was left out.

    Raises:
        CandidateError: If no tensor becomes smaller, or the interpreter does not take the file.
    """
    model = read_tflite(tflite)
    values = zeros = tensors = 0
    for graph in model.subgraphs:
        for index in _kernels(model, graph):
            kept, left_out = _leave_zeros_out(model, graph, index)
            values, zeros, tensors = values + kept, zeros + left_out, tensors + bool(left_out)
    if not tensors:
        raise CandidateError("no weight tensor has zeros enough to be smaller without them")
    content = write_tflite(model)
    calls = ModelCalls(content)
    calls.run(calls.zeros())
    return content, SparseStorage(tensors, values, zeros, len(tflite), len(content))


def _kernels(model: Any, graph: Any) -> list[int]:
    """The tensors that hold weights, seen through a cast."""
    casts = {op.outputs[0]: op.inputs[0] for op in graph.operators if operator_code(model, op) == _Operator.DEQUANTIZE}
    weighted = ((op, _KERNELS.get(operator_code(model, op))) for op in graph.operators)
    read = {int(op.inputs[position]) for op, position in weighted if position is not None}
    return sorted({int(casts.get(index, index)) for index in read})


def _leave_zeros_out(model: Any, graph: Any, index: int) -> tuple[int, int]:
    """Stores one tensor sparsely, if that is smaller; gives how many values are left in it and how many out."""
    tensor = graph.tensors[index]
    data = constant_data(model, tensor)
    if data is None or tensor.type not in _TYPES or tensor.sparsity is not None or not _is_symmetric(tensor):
        return 0, 0
    dense = np.frombuffer(data, _TYPES[tensor.type]).reshape(tensor.shape)
    segments, columns = _compressed_rows(dense)
    kept = dense[dense != 0]
    if kept.nbytes + segments.nbytes + columns.nbytes >= dense.nbytes:
        return 0, 0
    _put_densify_before_readers(model, graph, index)
    tensor.sparsity = _sparsity(tensor.shape, segments, columns)
    _replace_data(model, tensor, kept.view("u1"))
    return kept.size, dense.size - kept.size


def _replace_data(model: Any, tensor: Any, data: np.ndarray) -> None:
    """Gives a tensor a buffer of its own; the old one goes, unless other tensors share it."""
    old, tensor.buffer = tensor.buffer, len(model.buffers)
    model.buffers.append(schema.BufferT())
    model.buffers[-1].data = data
    if not any(other.buffer == old for graph in model.subgraphs for other in graph.tensors):
        model.buffers[old] = schema.BufferT()


def _compressed_rows(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each row's values begin, and the column of each value: the last dimension is compressed."""
    rows = dense.reshape(-1, dense.shape[-1])
    segments = np.concatenate([[0], np.cumsum(np.count_nonzero(rows, axis=1))])
    return _narrow(segments), _narrow(np.nonzero(rows)[1])


def _narrow(values: np.ndarray) -> np.ndarray:
    """The narrowest type that the schema has for them."""
    highest = int(values.max(initial=0))
    return values.astype("u1" if highest < 1 << 8 else "<u2" if highest < 1 << 16 else "<i4")


def _sparsity(shape: list[int], segments: np.ndarray, columns: np.ndarray) -> Any:
    parameters = schema.SparsityParametersT()
    parameters.traversalOrder = list(range(len(shape)))
    parameters.dimMetadata = [_dense_dimension(int(size)) for size in shape[:-1]]
    last = schema.DimensionMetadataT()
    last.format = schema.DimensionType.SPARSE_CSR
    last.arraySegmentsType, last.arraySegments = _index_vector(segments)
    last.arrayIndicesType, last.arrayIndices = _index_vector(columns)
    parameters.dimMetadata.append(last)
    return parameters


def _dense_dimension(size: int) -> Any:
    dimension = schema.DimensionMetadataT()
    dimension.format, dimension.denseSize = schema.DimensionType.DENSE, size
    return dimension


def _index_vector(values: np.ndarray) -> tuple[int, Any]:
    name = {"u1": "Uint8Vector", "u2": "Uint16Vector", "i4": "Int32Vector"}[values.dtype.str[1:]]
    vector = getattr(schema, f"{name}T")()
    vector.values = values
    return getattr(schema.SparseIndexVector, name), vector


def _put_densify_before_readers(model: Any, graph: Any, index: int) -> None:
    sparse = graph.tensors[index]
    dense = schema.TensorT()
    dense.name, dense.shape, dense.type = sparse.name + b"/dense", sparse.shape, sparse.type
    dense.quantization = sparse.quantization
    graph.tensors.append(dense)
    for operator in graph.operators:
        operator.inputs = [len(graph.tensors) - 1 if taken == index else taken for taken in operator.inputs]
    densify = schema.OperatorT()
    densify.opcodeIndex = code_index(model, _Operator.DENSIFY)
    densify.inputs, densify.outputs = [index], [len(graph.tensors) - 1]
    graph.operators.insert(0, densify)


def _is_symmetric(tensor: Any) -> bool:
    """Whether zero is stored as 0."""
    points = tensor.quantization.zeroPoint if tensor.quantization is not None else None
    return points is None or not np.any(points)


@dataclass(frozen=True)
class SparseKernels:
    """Whether XNNPACK computes with sparse weights, by the rules of its source; no runtime reports it.

    Attributes:
        possible: Whether no rule that is checked here speaks against it.
        reason: The rule that decides, or which are left unchecked.
    """

    possible: bool
    reason: str


_FEWEST_ZEROS = 2 / 3


def sparse_kernels(tflite: bytes, *, architecture: str, cpu_flags: Collection[str]) -> SparseKernels | None:
    """Tells by rule whether a sparse kernel can engage (XNNPACK `src/subgraph.c`, `hardware-config.h`).

    Args:
        tflite: The model as it runs.
        architecture: Of the device, as `platform.machine()` names it.
        cpu_flags: Of its processor, as `/proc/cpuinfo` names them.

    Returns:
        None if no weights are stored sparsely.
    """
    kernels = [(op.name, kernel) for op in TfliteGraph(tflite).operators if (kernel := op.kernel()) is not None]
    stored = [kernel for _, kernel in kernels if kernel.is_sparse]
    if not stored:
        return None
    pointwise = [kernel for name, kernel in kernels if name == "CONV_2D" and kernel.shape[1:3] == (1, 1)]
    zeros, elements = sum(kernel.zeros() for kernel in pointwise), sum(kernel.elements for kernel in pointwise)
    rules = {
        "there are none for int8 weights": any(kernel.type == "INT8" for kernel in stored),
        "on x86 there are none where the processor has AVX": architecture in _X86 and "avx" in cpu_flags,
        "there are none but for 1x1 convolutions, and the model has none": not pointwise,
        "more than two thirds of the 1x1 weights must be zero": zeros <= _FEWEST_ZEROS * elements,
    }
    broken = next((rule for rule, is_broken in rules.items() if is_broken), None)
    unchecked = "the graph may still break a rule on its first convolution, padding or pooling"
    return SparseKernels(broken is None, broken or unchecked)


_X86 = ("x86_64", "AMD64", "i386", "i686", "x86")
