"""Which operators XNNPACK has kernels for, as LiteRT's delegate hands them over (its README and source).

What really ran is counted by the runner; this table is for models of time. Tests compare it with what LiteRT delegates.
"""

from __future__ import annotations

from collections.abc import Mapping

from litefront.objectives.tflite_operators import Arithmetic, OperatorCounts

__all__ = ["xnnpack_takes"]

_INT8 = """
    ADD AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION CONV_2D DEPTH_TO_SPACE DEPTHWISE_CONV_2D DEQUANTIZE ELU
    EXPAND_DIMS FULLY_CONNECTED LEAKY_RELU LOGISTIC MAX_POOL_2D MEAN MUL PAD QUANTIZE RESHAPE RESIZE_BILINEAR
    SLICE SPACE_TO_DEPTH SPLIT STRIDED_SLICE SUB TANH TRANSPOSE TRANSPOSE_CONV
"""
_FLOAT32_ALONE = """
    ABS CEIL COS DIV EXP FLOOR GELU HARD_SWISH LOG MAXIMUM MINIMUM NEG PRELU REDUCE_MAX REDUCE_MIN RELU RELU6
    RELU_N1_TO_1 RELU_0_TO_1 ROUND RSQRT SIN SOFTMAX SQRT SQUARE SQUARED_DIFFERENCE SUM
"""

_OPERATORS: Mapping[Arithmetic, frozenset[str]] = {
    Arithmetic.FLOAT32: frozenset(_INT8.split()) | frozenset(_FLOAT32_ALONE.split()),
    Arithmetic.INT8: frozenset(_INT8.split()),
    Arithmetic.DYNAMIC_INT8: frozenset({"CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL"}),
    Arithmetic.DYNAMIC_INT4: frozenset({"FULLY_CONNECTED"}),
    Arithmetic.INT16X8: frozenset(),
}


def xnnpack_takes(operator: OperatorCounts) -> bool:
    """Whether XNNPACK runs an operator; where it does not, the built-in kernels do."""
    # It has no cast from int4: what such weights become is no constant to it, and its products want constants.
    return not operator.widened_int4 and operator.name in _OPERATORS[operator.arithmetic]
