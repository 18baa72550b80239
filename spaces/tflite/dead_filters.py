"""Filters that pruning left all zero, and what static quantization makes of them.

`ai-edge-quantizer` takes a filter's scale from its largest weight. Of an all-zero filter that is next to nothing
(7.9e-12), and the filter's bias, stored as a multiple of input scale times filter scale, overflows its int32: it comes
back as -2147483648 steps, about zero whatever it was, without an error. Since 0 times any scale is 0, the scale can be
chosen freely: here it becomes that of the layer's largest filter, and the bias is stored anew in its steps.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = ["repair_dead_filters"]

_log = logging.getLogger(__name__)

_BIASED = frozenset(
    {
        schema.BuiltinOperator.CONV_2D,
        schema.BuiltinOperator.DEPTHWISE_CONV_2D,
        schema.BuiltinOperator.FULLY_CONNECTED,
        schema.BuiltinOperator.TRANSPOSE_CONV,
    }
)
_BIAS_TYPES: dict[int, np.dtype[Any]] = {
    schema.TensorType.INT32: np.dtype("<i4"),
    schema.TensorType.INT64: np.dtype("<i8"),
}


def repair_dead_filters(quantized: bytes, float_tflite: bytes) -> bytes:
    """Gives the biases of all-zero filters their values back.

    Args:
        quantized: A static-range `.tflite` that the quantizer made.
        float_tflite: The float model that it was made of; the biases' values are looked up by name in it.

    Returns:
        The model; without such filters, the same bytes.
    """
    content = bytearray(quantized)
    model = _Model(content)
    biases = _Model(bytearray(float_tflite)).float_values()
    repaired = sum(model.repair(operator, biases) for operator in model.operators())
    if repaired:
        _log.info("the biases of %d all-zero filters were stored anew", repaired)
    return bytes(content)


class _Model:
    """A flatbuffer whose arrays are views into its own bytes: what is written to them is written to the file."""

    def __init__(self, content: bytearray) -> None:
        self._content = content
        self._model = schema.Model.GetRootAs(content, 0)
        self._graph = self._model.Subgraphs(0)

    def operators(self) -> list[schema.Operator]:
        """The operators that have filters and a bias."""
        found = (self._graph.Operators(index) for index in range(self._graph.OperatorsLength()))
        return [operator for operator in found if self._code(operator) in _BIASED and len(_inputs(operator)) > 2]

    def float_values(self) -> dict[bytes, np.ndarray]:
        """The float32 constants by tensor name."""
        tensors = (self._graph.Tensors(index) for index in range(self._graph.TensorsLength()))
        floats = (tensor for tensor in tensors if tensor.Type() == schema.TensorType.FLOAT32)
        return {tensor.Name(): values for tensor in floats if (values := self._values(tensor, np.dtype("<f4"))).size}

    def repair(self, operator: schema.Operator, biases: dict[bytes, np.ndarray]) -> int:
        """Repairs one operator in place; gives the number of filters that needed it."""
        taken, kernel, bias = (self._graph.Tensors(index) for index in _inputs(operator)[:3])
        if kernel.Type() != schema.TensorType.INT8 or bias.Type() not in _BIAS_TYPES or bias.Name() not in biases:
            return 0
        weights = self._values(kernel, np.dtype("i1")).reshape(kernel.ShapeAsNumpy())
        scales, bias_scales = kernel.Quantization().ScaleAsNumpy(), bias.Quantization().ScaleAsNumpy()
        channel = kernel.Quantization().QuantizedDimension()
        if len(scales) != weights.shape[channel] or len(bias_scales) != len(scales):
            return 0  # one scale for the whole tensor: no filter has a scale of its own to lose
        others = tuple(axis for axis in range(weights.ndim) if axis != channel)
        dead = ~weights.any(axis=others)
        if not dead.any() or dead.all():
            return 0
        scales[dead] = scales.max()
        bias_scales[dead] = scales.max() * taken.Quantization().ScaleAsNumpy()[0]
        stored = self._values(bias, _BIAS_TYPES[bias.Type()])
        stored[dead] = np.rint(biases[bias.Name()][dead] / bias_scales[dead].astype(np.float64)).astype(stored.dtype)
        return int(dead.sum())

    def _code(self, operator: schema.Operator) -> int:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        return int(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))

    def _values(self, tensor: schema.Tensor, dtype: np.dtype[Any]) -> np.ndarray:
        buffer = self._model.Buffers(tensor.Buffer())
        if buffer.DataLength():
            return np.asarray(buffer.DataAsNumpy().view(dtype))
        if buffer.Offset() > 1:
            return np.frombuffer(self._content, dtype, buffer.Size() // dtype.itemsize, buffer.Offset())
        return np.empty(0, dtype)


def _inputs(operator: schema.Operator) -> list[int]:
    return [index for position in range(operator.InputsLength()) if (index := operator.Inputs(position)) >= 0]
