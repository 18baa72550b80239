"""The models that are measured: MobileNets of five sizes, and one small convolutional net in thirty cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from litefront.objectives.devices import Candidate
from litefront.spaces.base_model import BaseModel, save_keras
from litefront.spaces.batch_size import convert
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.tensorflow_environment import import_keras, prepare_environment, seed_everything

__all__ = ["FULL", "QUICK", "Extent", "MeasuredModel", "MeasuredModels"]


@dataclass(frozen=True)
class Extent:
    """How far the benchmark goes.

    Attributes:
        sizes: How many of the MobileNets are measured.
        pairs: How often each model is measured by either tool.
        batches: Batch sizes of the small net's cells on both delegates.
        large_batches: Further ones on XNNPACK alone.
        measurements: Measurements whose overhead is told.
    """

    sizes: int
    pairs: int
    batches: tuple[int, ...]
    large_batches: tuple[int, ...]
    measurements: int


FULL = Extent(sizes=5, pairs=9, batches=(1, 4), large_batches=(16,), measurements=20)
QUICK = Extent(sizes=2, pairs=2, batches=(1,), large_batches=(), measurements=4)


@dataclass(frozen=True)
class MeasuredModel:
    """A file, how it is run, and rows to call it with.

    Attributes:
        name: What it is.
        candidate: The file, and the configuration that it is run with.
        rows: The rows, a `.npy`.
    """

    name: str
    candidate: Candidate
    rows: Path


# Width, side of the image, quantization and threads: from about 0.5 ms to about 20 ms on a current x86 core.
_MOBILENETS = (
    (0.25, 192, Quantization.FLOAT32, 1),
    (0.5, 224, Quantization.INT8, 1),
    (1.0, 192, Quantization.INT8, 1),
    (1.0, 224, Quantization.FLOAT32, 1),
    (1.0, 288, Quantization.FLOAT32, 1),
)
_QUANTIZATIONS = (Quantization.FLOAT32, Quantization.DYNAMIC_INT8, Quantization.INT8)


class MeasuredModels:
    """Builds the models when they are first asked for.

    Args:
        folder: Where the files go.
        extent: How far the benchmark goes.
    """

    def __init__(self, folder: Path, extent: Extent) -> None:
        self.folder = folder
        self.extent = extent

    @cached_property
    def mobilenets(self) -> list[MeasuredModel]:
        """Of rising latency."""
        return [self._mobilenet(*size) for size in _MOBILENETS[: self.extent.sizes]]

    @cached_property
    def micro(self) -> list[MeasuredModel]:
        """The small net, quantized in three ways: each call takes less than 0.5 ms."""
        batches = (1, *self.extent.large_batches)
        return [
            self._cell(DeploymentConfig(quantization=quantization, batch_size=batch))
            for batch, quantization in product(batches, _QUANTIZATIONS)
        ]

    @cached_property
    def empty(self) -> MeasuredModel:
        """A model that computes next to nothing: its calls are what calling costs."""
        prepare_environment()
        keras = import_keras()
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.ReLU()])
        return self._kept("empty", self._saved(model, "empty"), DeploymentConfig(), self._rows((4,)))

    @cached_property
    def cells(self) -> list[MeasuredModel]:
        """The small net in every quantization, on both delegates, with one and two threads, at several batch sizes."""
        everywhere = product(_QUANTIZATIONS, (Delegate.NONE, Delegate.XNNPACK), (1, 2), self.extent.batches)
        on_xnnpack = product(_QUANTIZATIONS, (Delegate.XNNPACK,), (1, 2), self.extent.large_batches)
        return [
            self._cell(DeploymentConfig(0.0, quantization, delegate, threads, batch))
            for quantization, delegate, threads, batch in (*everywhere, *on_xnnpack)
        ]

    def _mobilenet(self, width: float, side: int, quantization: Quantization, threads: int) -> MeasuredModel:
        name = f"MobileNet {width:g} {side} {quantization}"
        prepare_environment()
        keras = import_keras()
        seed_everything(0)
        model = keras.applications.MobileNet(input_shape=(side, side, 3), alpha=width, weights=None)
        config = DeploymentConfig(quantization=quantization, num_threads=threads)
        return self._kept(name, self._saved(model, name), config, self._rows((side, side, 3)))

    def _cell(self, config: DeploymentConfig) -> MeasuredModel:
        return self._kept(config.label(), self._small_net, config, self._rows((28, 28, 1)))

    @cached_property
    def _small_net(self) -> BaseModel:
        prepare_environment()
        keras = import_keras()
        seed_everything(0)
        layers = keras.layers
        model = keras.Sequential(
            [
                layers.Input((28, 28, 1)),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(32, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(64, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
        return self._saved(model, "small net")

    def _saved(self, model: Any, name: str) -> BaseModel:
        folder = self.folder / name
        folder.mkdir()
        return save_keras(model, folder)

    def _rows(self, shape: tuple[int, ...]) -> Path:
        path = self.folder / f"rows_{'x'.join(map(str, shape))}.npy"
        if not path.exists():
            np.save(path, np.random.default_rng(0).random((16, *shape), np.float32))
        return path

    def _kept(self, name: str, model: BaseModel, config: DeploymentConfig, rows: Path) -> MeasuredModel:
        path = self.folder / f"{model.path.parent.name} {config.quantization} {config.batch_size}.tflite"
        if not path.exists():
            content = quantize(
                self._float_tflite(model, config.batch_size), config.quantization, representative_dataset=np.load(rows)
            )
            path.write_bytes(content)
        return MeasuredModel(name, Candidate(path, config), rows)

    def _float_tflite(self, model: BaseModel, batch_size: int) -> bytes:
        path = model.path.with_name(f"{batch_size}.tflite")
        if not path.exists():
            path.write_bytes(convert(model, batch_size))
        return path.read_bytes()
