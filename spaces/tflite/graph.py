"""What a `.tflite` file really holds: counted in its flatbuffer, never taken on a tool's word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization

__all__ = ["GraphFacts", "OperatorFacts", "TensorFacts", "TfliteGraph", "operator_number"]

_TYPE_NAMES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
_OPERATOR_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}

# Operators with weights: the positions of the kernel and of the bias among their inputs. The first five are the ones
# whose kernel the pruning toolkit prunes; it leaves depthwise kernels whole.
_PRUNABLE_KERNELS = {"CONV_2D": 1, "FULLY_CONNECTED": 1, "CONV_3D": 1, "TRANSPOSE_CONV": 1, "GATHER": 0}
_KERNELS = _PRUNABLE_KERNELS | {"DEPTHWISE_CONV_2D": 1, "EMBEDDING_LOOKUP": 1, "BATCH_MATMUL": 1}

_NUMPY_TYPES = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "INT8": "i1",
    "UINT8": "u1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
}


@dataclass(frozen=True)
class TensorFacts:
    """One tensor of the graph.

    Attributes:
        name: Its name in the file.
        type: Its type's name in the `.tflite` schema, such as INT8.
        shape: Its static shape.
        shape_signature: The same with -1 where the size is dynamic.
        data: The stored bytes; empty for an activation.
        zero_point: The quantized value that stands for zero.
        producer: The operator that writes it, or an empty string for inputs and constants.
        source: For the output of a DEQUANTIZE or DENSIFY the index of its input tensor, else -1.
        is_sparse: Whether `data` leaves zeros out.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    data: bytes
    zero_point: int
    producer: str = ""
    source: int = -1
    is_sparse: bool = False

    @property
    def elements(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its type as numpy has it."""
        return np.dtype(_NUMPY_TYPES[self.type])

    def zeros(self) -> int:
        """Number of stored values that stand for zero."""
        if self.type == "INT4":
            packed = np.frombuffer(self.data, "u1")
            nibbles = np.stack([packed & 0xF, packed >> 4], axis=-1).reshape(-1)[: self.elements]
            return int(np.count_nonzero(nibbles == (self.zero_point & 0xF)))
        values = np.frombuffer(self.data, self.dtype)
        left_out = self.elements - len(values) if self.is_sparse else 0
        return left_out + int(np.count_nonzero(values == self.zero_point))


@dataclass(frozen=True)
class GraphFacts:
    """What was counted in one file, recorded with every candidate.

    Attributes:
        prunable_sparsity: Zeros among the weights that pruning works on, as a fraction.
        overall_sparsity: Zeros among all weights and biases, as a fraction.
        quantized_share: Share of the weights (by number) stored in the type that was asked for.
        ops: Number of operators, casts to and from float at the edges apart.
        ops_quantized: How many of them have their weights, or for a static range their activations, in the asked type.
    """

    prunable_sparsity: float
    overall_sparsity: float
    quantized_share: float
    ops: int
    ops_quantized: int


@dataclass(frozen=True)
class OperatorFacts:
    """One operator of the graph.

    Attributes:
        name: Its name in the `.tflite` schema, such as CONV_2D.
        inputs: Indices of its inputs; -1 for one that is left out.
        outputs: Indices of its outputs.
        tensors: The tensors that these count in.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[TensorFacts, ...]

    @property
    def output_name(self) -> str:
        """The name of its first output, by which the quantizer's rules know an operator."""
        return self.tensors[self.outputs[0]].name if self.outputs else ""

    def kernel(self) -> TensorFacts | None:
        """The constant weights of this operator, seen through a DEQUANTIZE or DENSIFY; None if it has none."""
        position = _KERNELS.get(self.name)
        if position is None or position >= len(self.inputs) or self.inputs[position] < 0:
            return None
        return self._constant(self.inputs[position])

    def constants(self) -> Iterator[TensorFacts]:
        """The constant weights and biases of this operator."""
        position = _KERNELS.get(self.name)
        if position is None:
            return
        # To the end: the bias of a TRANSPOSE_CONV stands behind its input.
        for index in self.inputs[min(position, 1) :]:
            constant = self._constant(index) if index >= 0 else None
            if constant is not None and not (self.name == "GATHER" and constant.type == "INT32"):
                yield constant

    def _constant(self, index: int) -> TensorFacts | None:
        tensor = self.tensors[index]
        while tensor.producer in ("DEQUANTIZE", "DENSIFY"):
            tensor = self.tensors[tensor.source]
        return tensor if tensor.data else None


class TfliteGraph:
    """Reads a `.tflite` file's operators and tensors.

    Args:
        content: The file's bytes.

    Raises:
        CandidateError: If they are not a `.tflite` file's.
    """

    def __init__(self, content: bytes) -> None:
        if content[4:8] != b"TFL3":
            raise CandidateError("refused: it has not the mark of a `.tflite` file")
        self._content = content
        self._model = schema.Model.GetRootAs(content, 0)

    @cached_property
    def inputs(self) -> tuple[TensorFacts, ...]:
        """The model's inputs."""
        subgraph = self._model.Subgraphs(0)
        tensors = self._tensors(0)
        return tuple(tensors[subgraph.Inputs(i)] for i in range(subgraph.InputsLength()))

    @cached_property
    def outputs(self) -> tuple[TensorFacts, ...]:
        """The model's outputs."""
        subgraph = self._model.Subgraphs(0)
        tensors = self._tensors(0)
        return tuple(tensors[subgraph.Outputs(i)] for i in range(subgraph.OutputsLength()))

    @property
    def nodes(self) -> int:
        """Number of operators of the main graph, casts among them: what a delegate can take."""
        return int(self._model.Subgraphs(0).OperatorsLength())

    @cached_property
    def has_custom_ops(self) -> bool:
        """Whether the file needs an operator that LiteRT does not bring."""
        return any(operator.name == "CUSTOM" for operator in self.operators)

    @cached_property
    def weight_types(self) -> frozenset[str]:
        """The types in which weights are stored."""
        kernels = (operator.kernel() for operator in self.operators)
        return frozenset(kernel.type for kernel in kernels if kernel is not None)

    @property
    def constants(self) -> Iterator[TensorFacts]:
        """Every weight and bias."""
        for operator in self.operators:
            yield from operator.constants()

    def facts(self, quantization: Quantization) -> GraphFacts:
        """Counts zeros and quantized weights.

        Args:
            quantization: What was asked for; the shares are counted against it.
        """
        prunable = [op.kernel() for op in self.operators if op.name in _PRUNABLE_KERNELS]
        kernels = [kernel for op in self.operators if (kernel := op.kernel()) is not None]
        computing = [op for op in self.operators if op.name not in ("QUANTIZE", "DEQUANTIZE", "DENSIFY")]
        as_asked = [op.kernel() for op in self.operators if _is_as_asked(op, quantization)]
        return GraphFacts(
            prunable_sparsity=_sparsity(kernel for kernel in prunable if kernel is not None),
            overall_sparsity=_sparsity(self.constants),
            quantized_share=_ratio(_elements(as_asked), _elements(kernels)),
            ops=len(computing),
            ops_quantized=sum(self._is_quantized(op, quantization) for op in computing),
        )

    def _is_quantized(self, op: OperatorFacts, quantization: Quantization) -> bool:
        if quantization.is_static_range:
            return all(op.tensors[index].type in _activation_types(quantization) for index in op.outputs)
        return quantization is not Quantization.FLOAT32 and _is_as_asked(op, quantization)

    @cached_property
    def operators(self) -> tuple[OperatorFacts, ...]:
        """Every operator, in the order in which they run."""
        return tuple(
            operator for index in range(self._model.SubgraphsLength()) for operator in self._operators_of(index)
        )

    def _operators_of(self, subgraph_index: int) -> Iterator[OperatorFacts]:
        subgraph = self._model.Subgraphs(subgraph_index)
        tensors = self._tensors(subgraph_index)
        for index in range(subgraph.OperatorsLength()):
            operator = subgraph.Operators(index)
            inputs = tuple(operator.Inputs(i) for i in range(operator.InputsLength()))
            outputs = tuple(operator.Outputs(i) for i in range(operator.OutputsLength()))
            yield OperatorFacts(self._name(operator), inputs, outputs, tensors)

    def _tensors(self, subgraph_index: int) -> tuple[TensorFacts, ...]:
        subgraph = self._model.Subgraphs(subgraph_index)
        producers: dict[int, tuple[str, int]] = {}
        for index in range(subgraph.OperatorsLength()):
            operator = subgraph.Operators(index)
            source = operator.Inputs(0) if operator.InputsLength() else -1
            for i in range(operator.OutputsLength()):
                producers[operator.Outputs(i)] = (self._name(operator), source)
        return tuple(
            self._tensor(subgraph.Tensors(index), *producers.get(index, ("", -1)))
            for index in range(subgraph.TensorsLength())
        )

    def _tensor(self, tensor: schema.Tensor, producer: str, source: int) -> TensorFacts:
        shape = tuple(tensor.Shape(i) for i in range(tensor.ShapeLength()))
        signature = tuple(tensor.ShapeSignature(i) for i in range(tensor.ShapeSignatureLength()))
        quantization = tensor.Quantization()
        return TensorFacts(
            name=tensor.Name().decode(errors="replace") if tensor.Name() else "",
            type=_TYPE_NAMES.get(tensor.Type(), str(tensor.Type())),
            shape=shape,
            shape_signature=signature or shape,
            data=self._data(tensor.Buffer()),
            zero_point=quantization.ZeroPoint(0) if quantization and quantization.ZeroPointLength() else 0,
            producer=producer,
            source=source,
            is_sparse=tensor.Sparsity() is not None,
        )

    def _data(self, index: int) -> bytes:
        buffer = self._model.Buffers(index)
        if buffer.DataLength():
            return bytes(buffer.DataAsNumpy().tobytes())
        # The quantizer keeps weights behind the flatbuffer, by offset and size; an offset of 1 stands for none.
        if buffer.Offset() > 1:
            return self._content[buffer.Offset() : buffer.Offset() + buffer.Size()]
        return b""

    def _name(self, operator: schema.Operator) -> str:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        # Operators beyond 126 stand in the second field; older files fill the first only.
        return str(_OPERATOR_NAMES.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "UNKNOWN"))


def operator_number(name: str) -> int:
    """An operator's number in the `.tflite` schema."""
    return int(getattr(schema.BuiltinOperator, name))


def _is_as_asked(op: OperatorFacts, quantization: Quantization) -> bool:
    """Whether an operator has weights, and these are stored in the type that was asked for."""
    kernel = op.kernel()
    four_bit_table = quantization is Quantization.DYNAMIC_INT8_EMBEDDING_INT4 and op.name == "EMBEDDING_LOOKUP"
    return kernel is not None and kernel.type == ("INT4" if four_bit_table else quantization.weight_type)


def _activation_types(quantization: Quantization) -> tuple[str, ...]:
    """The types of which an operator of a static range has its outputs."""
    spared = ("INT16",) if quantization is Quantization.MIXED_INT16X8 else ()
    return (quantization.activation_type, *spared)


def _elements(tensors: Iterable[TensorFacts | None]) -> int:
    return sum(tensor.elements for tensor in tensors if tensor is not None)


def _sparsity(tensors: Iterator[TensorFacts]) -> float:
    zeros = elements = 0
    for tensor in tensors:
        zeros += tensor.zeros()
        elements += tensor.elements
    return _ratio(zeros, elements)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
