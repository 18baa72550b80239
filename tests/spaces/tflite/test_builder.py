"""Equal zero points stored once: fewer bytes, and the same model to whoever reads or runs it."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.tflite.file import share_zero_points
from tests.conftest import run_rows

STATIC = (Quantization.INT8, Quantization.INT16X8)


@pytest.fixture(scope="module", params=STATIC)
def quantized(
    request: pytest.FixtureRequest, float_tflites: dict[int, bytes], representative_dataset: np.ndarray
) -> bytes:
    return quantize(float_tflites[1], request.param, representative_dataset=representative_dataset)


def _unshared(content: bytes) -> bytes:
    """The file as the schema's own code writes it: every list of its own, constants wherever they fall."""
    builder = flatbuffers.Builder(len(content))
    builder.Finish(_model(content).Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _model(content: bytes) -> Any:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, "u1", buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    return model


def _read(content: bytes) -> dict[str, tuple[Any, ...]]:
    """Of every tensor by name: type, shape, scales, zero points and data."""
    model = _model(content)
    (graph,) = model.subgraphs
    return {tensor.name.decode(): tuple(map(_listed, _parts(model, tensor))) for tensor in graph.tensors}


def _parts(model: Any, tensor: Any) -> tuple[Any, ...]:
    ranges = tensor.quantization or schema.QuantizationParametersT()
    return tensor.type, tensor.shape, ranges.scale, ranges.zeroPoint, model.buffers[tensor.buffer].data


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def test_the_model_stays_the_same(quantized: bytes, rows: tuple[np.ndarray, np.ndarray]) -> None:
    shared = share_zero_points(quantized)
    assert _read(shared) == _read(quantized)
    np.testing.assert_array_equal(run_rows(shared, rows[0]), run_rows(quantized, rows[0]))


def test_equal_zero_points_are_stored_once(quantized: bytes) -> None:
    lists = [tuple(ranges) for _, _, _, ranges, _ in _read(quantized).values() if ranges]
    repeated = sum(map(len, lists)) - sum(map(len, set(lists)))
    assert repeated >= 4
    # Eight bytes a number, less what alignment of constants adds.
    saved = len(_unshared(quantized)) - len(share_zero_points(quantized))
    constants = sum(data is not None for *_, data in _read(quantized).values())
    assert saved >= 8 * repeated - 16 * constants > 0


def test_shared_once_nothing_more_is_to_be_had(quantized: bytes) -> None:
    shared = share_zero_points(quantized)
    assert share_zero_points(shared) is shared
