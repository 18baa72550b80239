"""What the tests share: a tiny trained classifier, its `.tflite` files, and rows for it.

TensorFlow takes seconds to import and each conversion about one, so everything here is made once for the whole session,
and only when a test asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# As the command line has it, and before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest

from litefront.objectives.runner_server import runner_server
from litefront.spaces.base_model import BaseModel, save_keras
from litefront.spaces.batch_size import convert
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.tensorflow_environment import import_keras, prepare_environment, seed_everything
from tests.accelerators import SOFTWARE_GPU, build_external_delegate, compiler_refusal, gpu_refusal, npu_refusal

CLASSES = 3
BATCHES = (1, 4)

# Before any test imports TensorFlow: the switch to tf_keras is read when it is first imported.
prepare_environment()


@pytest.fixture(scope="session")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Images of shape (22, 8, 8, 1), float32 in [0, 1], and their classes (22,): where the bright band lies.

    22 is no multiple of the larger batch.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(22) % CLASSES
    images = rng.random((22, 8, 8, 1)) * 0.4
    for image, label in zip(images, labels, strict=True):
        image[label * 3 : label * 3 + 2] += 0.6
    return images.astype(np.float32), labels.astype(np.int64)


@pytest.fixture(scope="session")
def representative_dataset(rows: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Rows to calibrate on."""
    return rows[0]


@pytest.fixture(scope="session")
def keras_classifier(tmp_path_factory: pytest.TempPathFactory, rows: tuple[np.ndarray, np.ndarray]) -> BaseModel:
    """A convolution and a dense layer on 8 x 8 images, trained for a few steps, as `save_keras` keeps it."""
    keras = import_keras()
    seed_everything(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(*rows, epochs=5, verbose=0)
    return save_keras(model, tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="session")
def float_tflites(keras_classifier: BaseModel) -> dict[int, bytes]:
    """The float32 `.tflite` by batch size."""
    return {batch_size: convert(keras_classifier, batch_size) for batch_size in BATCHES}


class _CandidateFiles(dict[tuple[Quantization, int], Path]):
    """A file for each quantization and batch size, made when it is first asked for."""

    def __init__(self, folder: Path, float_tflites: dict[int, bytes], rows: np.ndarray) -> None:
        super().__init__()
        self._folder, self._float_tflites, self._rows = folder, float_tflites, rows

    def __missing__(self, key: tuple[Quantization, int]) -> Path:
        quantization, batch_size = key
        path = self._folder / f"{quantization}_{batch_size}.tflite"
        content = self._float_tflites[batch_size]
        path.write_bytes(quantize(content, quantization, representative_dataset=self._rows))
        self[key] = path
        return path


@pytest.fixture(scope="session")
def candidate_files(
    float_tflites: dict[int, bytes], representative_dataset: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[Quantization, int], Path]:
    """A file for each quantization and batch size."""
    return _CandidateFiles(tmp_path_factory.mktemp("candidates"), float_tflites, representative_dataset)


@pytest.fixture(scope="session")
def rows_file(rows: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows as a `.npy`, as devices take them."""
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(path, rows[0])
    return path


@pytest.fixture
def software_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has runners that start meanwhile find a GPU in software."""
    if refusal := gpu_refusal():
        pytest.skip(refusal)
    for name, value in SOFTWARE_GPU.items():
        monkeypatch.setenv(name, value)
    # It starts again in the environment of whoever asks it next.
    runner_server().close()
    yield
    runner_server().close()


@pytest.fixture
def openvino() -> None:
    """Skips the test where the NPU's path cannot run."""
    if refusal := npu_refusal():
        pytest.skip(refusal)


@pytest.fixture(scope="session")
def external_delegate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of an external delegate that does what its option `mode` says."""
    if refusal := compiler_refusal():
        pytest.skip(refusal)
    return build_external_delegate(tmp_path_factory.mktemp("delegate"))


def run_rows(content: bytes, rows: np.ndarray, **options: Any) -> np.ndarray:
    """Runs rows through a `.tflite` in this process, call by call; the last call is filled up with zeros."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, **options)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    batch = int(taken["shape"][0])
    outputs = []
    for start in range(0, len(rows), batch):
        group = rows[start : start + batch]
        filled = np.zeros(taken["shape"], taken["dtype"])
        filled[: len(group)] = group
        interpreter.set_tensor(taken["index"], filled)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(given["index"])[: len(group)].copy())
    return np.concatenate(outputs)
