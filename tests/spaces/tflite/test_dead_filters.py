"""Static quantization of a model with all-zero filters: their biases must survive."""

from __future__ import annotations

import numpy as np
import pytest

from litefront.spaces.base_model import save_keras
from litefront.spaces.batch_size import convert
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.tensorflow_environment import import_keras, seed_everything
from litefront.spaces.tflite.dead_filters import repair_dead_filters
from tests.conftest import run_rows

DEAD = [1, 4, 6]
BIASES = np.array([0.1, 0.7, -0.2, 0.05, 0.4, 0.0, 0.9, -0.3], dtype=np.float32)


@pytest.fixture(scope="module")
def float_tflite(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A convolution of 8 filters, three of them all zero but for their biases."""
    keras = import_keras()
    seed_everything(0)
    convolution = keras.layers.Conv2D(8, 3, activation="relu")
    model = keras.Sequential(
        [keras.layers.Input((6, 6, 1)), convolution, keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    kernel, _ = convolution.get_weights()
    kernel[..., DEAD] = 0.0
    convolution.set_weights([kernel, BIASES])
    return convert(save_keras(model, tmp_path_factory.mktemp("dead")), 1)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((30, 6, 6, 1), dtype=np.float32)


@pytest.mark.parametrize("quantization", [Quantization.INT8, Quantization.INT16X8])
def test_static_quantization_keeps_the_biases_of_dead_filters(
    quantization: Quantization, float_tflite: bytes, images: np.ndarray
) -> None:
    expected = run_rows(float_tflite, images)
    quantized = run_rows(quantize(float_tflite, quantization, representative_dataset=images), images)
    # Half of all outputs lie within a rounding step or two; a lost bias would move them all by tenths.
    assert np.median(np.abs(quantized - expected)) < 0.03


def test_a_model_without_dead_filters_is_left_as_it_is(
    float_tflites: dict[int, bytes], rows: tuple[np.ndarray, ...]
) -> None:
    float_tflite = float_tflites[1]
    quantized = quantize(float_tflite, Quantization.INT8, representative_dataset=rows[0])
    assert repair_dead_filters(quantized, float_tflite) == quantized
