"""A `.tflite` whose equal zero points are stored once.

Quantization by channel stores a scale and a zero point of eight bytes for every channel of every weight and every bias,
and symmetric quantization makes all those zero points 0. A flatbuffer may hold one such list and point to it from many
places. On a MobileNetV1 of ten classes that takes 5 % off the int8 file; what is computed stays the same.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = ["share_zero_points"]

_LARGEST_BYTES = 2_000_000_000  # a flatbuffer's references are of 31 bits
_ZERO_POINT_BYTES = 8
# The schema's `force_align` of constants, which the generated Python code does not heed.
_CONSTANT_ALIGNMENT = 16


def share_zero_points(content: bytes) -> bytes:
    """Stores equal lists of zero points once.

    Args:
        content: A `.tflite`.

    Returns:
        The same model, or the same bytes if they would not become fewer.
    """
    if len(content) > _LARGEST_BYTES:
        return content
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        # The quantizer puts large constants behind the flatbuffer, by offset and size; an offset of 1 stands for none.
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, "u1", buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    builder = _SharingBuilder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    shared = bytes(builder.Output())
    return shared if len(shared) < len(content) else content


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Writes a list of eight-byte numbers only if no equal one is there already.

    In this schema such lists are zero points. Lists of smaller numbers may be references, which are relative to where
    they stand.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._known: dict[bytes, int] = {}
        self._item_bytes = 0
        self._before = 0

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        self._item_bytes, self._before = elemSize, self.Offset()
        if elemSize == 1:
            alignment = max(alignment, _CONSTANT_ALIGNMENT)
        return super().StartVector(elemSize, numElems, alignment)

    def EndVector(self, *arguments: Any) -> Any:  # noqa: N802
        offset = super().EndVector(*arguments)
        if self._item_bytes != _ZERO_POINT_BYTES:
            return offset
        start = self.Head()
        items = int(np.frombuffer(self.Bytes, "<u4", 1, start)[0])
        known = self._known.setdefault(bytes(self.Bytes[start : start + 4 + items * _ZERO_POINT_BYTES]), offset)
        if known != offset:
            self.head = len(self.Bytes) - self._before
        return known
