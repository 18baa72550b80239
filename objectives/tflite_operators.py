"""What each operator of a `.tflite` computes and moves: counted in the file, for models of time that have no device.

Counts are of one call at the file's static batch. Operators that only prepare constants (the DEQUANTIZE of stored
float16 weights) run once, when a model is loaded, and are left out; what follows reads the weights as they are then.
Operators in bodies of loops and branches count once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from litefront.spaces.tflite.graph import OperatorFacts, TensorFacts, TfliteGraph

__all__ = ["Arithmetic", "KernelClass", "OperatorCounts", "count_operators"]


class KernelClass(StrEnum):
    """Operators whose kernels reach alike shares of a processor's peak."""

    DENSE = "dense"
    """Matrix products: each weight meets many values, or each value many weights."""
    DEPTHWISE = "depthwise"
    """A filter a channel: few multiplications for each value that is read."""
    ELEMENTWISE = "elementwise"
    """All that reads and writes values and multiplies no weights."""


class Arithmetic(StrEnum):
    """The types that an operator computes with."""

    FLOAT32 = "float32"
    """Also for weights that are stored smaller and widened when the model is loaded."""
    INT8 = "int8"
    DYNAMIC_INT8 = "dynamic_int8"
    """Float values, quantized at each call to meet int8 weights."""
    DYNAMIC_INT4 = "dynamic_int4"
    INT16X8 = "int16x8"


@dataclass(frozen=True)
class OperatorCounts:
    """One operator, in numbers.

    Attributes:
        name: Its name in the `.tflite` schema, such as CONV_2D.
        kernel: Which kind of kernel runs it.
        arithmetic: What it computes with.
        operations: Multiply-accumulates; for an elementwise operator the values of its largest tensor.
        weight_bytes: Bytes of constants, as a call reads them.
        input_bytes: Bytes of the other inputs.
        output_bytes: Bytes of outputs.
        widened_int4: Whether it computes in float with weights that are stored in int4.
    """

    name: str
    kernel: KernelClass
    arithmetic: Arithmetic
    operations: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int
    widened_int4: bool = False


_BITS = {"FLOAT64": 64, "INT64": 64, "UINT64": 64, "FLOAT16": 16, "INT16": 16, "UINT16": 16}
_BITS |= dict.fromkeys(("INT8", "UINT8", "BOOL"), 8) | {"INT4": 4, "INT2": 2}
_BITS_OF_THE_REST = 32

# They give their input another shape, or another name, and touch no value.
_VIEWS = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE", "SHAPE"})


def count_operators(graph: TfliteGraph) -> list[OperatorCounts]:
    """The operators that each call runs, in their order.

    Args:
        graph: The file; its batch must be static for the counts to hold.
    """
    constants = _constants(graph)
    return [_counts(op, constants) for op in graph.operators if not _is_prepared(op, constants)]


def _constants(graph: TfliteGraph) -> set[int]:
    """The identities of all tensors that no call changes: stored ones, and what is made of nothing else."""
    constant: set[int] = set()
    for operator in graph.operators:
        constant |= {id(tensor) for tensor in _inputs(operator) if tensor.data}
        if _is_prepared(operator, constant):
            constant |= {id(operator.tensors[index]) for index in operator.outputs}
    return constant


def _is_prepared(operator: OperatorFacts, constants: set[int]) -> bool:
    inputs = _inputs(operator)
    return bool(inputs) and all(id(tensor) in constants for tensor in inputs)


def _inputs(operator: OperatorFacts) -> list[TensorFacts]:
    return [operator.tensors[index] for index in operator.inputs if index >= 0]


def _counts(operator: OperatorFacts, constants: set[int]) -> OperatorCounts:
    inputs, outputs = _inputs(operator), [operator.tensors[index] for index in operator.outputs]
    weights = [tensor for tensor in inputs if id(tensor) in constants]
    values = [tensor for tensor in inputs if id(tensor) not in constants]
    products = _multiply_accumulates(operator)
    kind = KernelClass.ELEMENTWISE
    if products is not None:
        kind = KernelClass.DEPTHWISE if operator.name == "DEPTHWISE_CONV_2D" else KernelClass.DENSE
    kernel = operator.kernel() if products is not None else None
    arithmetic = _arithmetic((*values, *outputs), kernel, weights)
    is_view = operator.name in _VIEWS
    largest = max((tensor.elements for tensor in (*values, *outputs)), default=0)
    return OperatorCounts(
        name=operator.name,
        kernel=kind,
        arithmetic=arithmetic,
        operations=products if products is not None else 0 if is_view else largest,
        weight_bytes=0 if is_view else _weight_bytes(operator, weights, outputs),
        input_bytes=0 if is_view else sum(map(_bytes, values)),
        output_bytes=0 if is_view else sum(map(_bytes, outputs)),
        widened_int4=kernel is not None and kernel.type == "INT4" and arithmetic is Arithmetic.FLOAT32,
    )


def _multiply_accumulates(operator: OperatorFacts) -> int | None:
    """Multiply-accumulates of an operator that multiplies matrices; None for any other.

    Each output value of a convolution sums one filter's products: `kernel / filters` of them, where the kernel's shape
    is `(filters, height, width, channels)`, and `(1, height, width, filters)` for a depthwise one.
    """
    inputs, output = _inputs(operator), operator.tensors[operator.outputs[0]] if operator.outputs else None
    match operator.name:
        case "CONV_2D" | "CONV_3D" | "FULLY_CONNECTED" if output is not None:
            kernel = inputs[1]
            filters = kernel.shape[-1] if operator.name == "CONV_3D" else kernel.shape[0]
            return output.elements * kernel.elements // filters
        case "DEPTHWISE_CONV_2D" if output is not None:
            return output.elements * inputs[1].elements // inputs[1].shape[-1]
        case "TRANSPOSE_CONV":
            # Its inputs are the output's shape, the kernel, and the values; each value meets each filter's products.
            kernel, values = inputs[1], inputs[2]
            return values.elements * kernel.elements // kernel.shape[-1]
        case "BATCH_MATMUL" if output is not None:
            # A side's matrix is rows by depth, so the product of both sides' sizes is rows * columns * depth^2,
            # whichever of them is transposed.
            left, right, product = (math.prod(tensor.shape[-2:]) for tensor in (inputs[0], inputs[1], output))
            return output.elements * math.isqrt(left * right // product)
        case _:
            return None


def _arithmetic(values: Sequence[TensorFacts], kernel: TensorFacts | None, weights: list[TensorFacts]) -> Arithmetic:
    """What an operator computes with, by the type of its values and of the weights that they meet; a cast, as ints."""
    value_types = {tensor.type for tensor in values}
    if "INT16" in value_types:
        return Arithmetic.INT16X8
    if value_types & {"INT8", "UINT8"}:
        return Arithmetic.INT8
    # A kernel that was widened when the model was loaded is none of the operator's own constants.
    if kernel is not None and any(kernel is tensor for tensor in weights):
        return {"INT8": Arithmetic.DYNAMIC_INT8, "INT4": Arithmetic.DYNAMIC_INT4}.get(kernel.type, Arithmetic.FLOAT32)
    return Arithmetic.FLOAT32


def _weight_bytes(operator: OperatorFacts, weights: list[TensorFacts], outputs: list[TensorFacts]) -> int:
    if operator.name in ("GATHER", "EMBEDDING_LOOKUP"):
        return sum(map(_bytes, outputs))  # the rows that are looked up, not the table
    return sum(map(_bytes, weights))


def _bytes(tensor: TensorFacts) -> int:
    return tensor.elements * _BITS.get(tensor.type, _BITS_OF_THE_REST) // 8
