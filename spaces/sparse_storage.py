"""Sparse storage: zeros are left out of the file, and a DENSIFY puts them back when the model is loaded.

What the converter's `EXPERIMENTAL_SPARSITY` writes, written into a finished file: in seconds less than a conversion,
for models that came as a `.tflite` too, and with the scales and zero points that the file has.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

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
