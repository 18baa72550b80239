"""How `.tflite` files are written: constants aligned, and equal zero points stored once.

Quantization by channel stores a scale and a zero point of eight bytes for every channel of every weight and every bias,
and symmetric quantization makes all those zero points 0. A flatbuffer may hold one such list and point to it from many
places. On a MobileNetV1 of ten classes that takes 5 % off the int8 file; what is computed stays the same.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np

__all__ = ["TfliteBuilder"]

_ZERO_POINT_BYTES = 8
# The schema's `force_align` of constants, which the generated Python code does not heed.
_CONSTANT_ALIGNMENT = 16


class TfliteBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns constants as the schema asks, and writes a list of eight-byte numbers only where no equal one is there.

    In this schema such lists are zero points. Lists of smaller numbers may be references, which are relative to where
    they stand.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._known: dict[bytes, int] = {}
        self._item_bytes = 0
        self._before = 0

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        """Begins a list; the builder's own interface."""
        self._item_bytes, self._before = elemSize, self.Offset()
        if elemSize == 1:
            alignment = max(alignment, _CONSTANT_ALIGNMENT)
        return super().StartVector(elemSize, numElems, alignment)

    def EndVector(self, *arguments: Any) -> Any:  # noqa: N802
        """Ends it, and takes it back if an equal one is there."""
        offset = super().EndVector(*arguments)
        if self._item_bytes != _ZERO_POINT_BYTES:
            return offset
        start = self.Head()
        items = int(np.frombuffer(self.Bytes, "<u4", 1, start)[0])
        known = self._known.setdefault(bytes(self.Bytes[start : start + 4 + items * _ZERO_POINT_BYTES]), offset)
        if known != offset:
            self.head = len(self.Bytes) - self._before
        return known
