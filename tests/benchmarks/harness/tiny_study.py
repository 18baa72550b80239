"""A study whose stages take about a second each, with more than 100 cells: for what happens to a run on its way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["write_tiny_study"]

_TASK = '''
"""Where does the bright band lie? Learned in a second."""
import numpy as np
from litefront.search import Dataset, FineTuning, Task


def rows(number, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 3
    images = rng.random((number, 8, 8, 1)) * 0.4
    for image, label in zip(images, labels):
        image[label * 3 : label * 3 + 2] += 0.6
    return Dataset(images.astype(np.float32), labels)


def trained_model():
    import tf_keras as keras

    model = keras.Sequential([
        keras.layers.Input((8, 8, 1)),
        keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(3, activation="softmax"),
    ])
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(task.training.inputs, task.training.labels, epochs=6, verbose=0)
    return model


task = Task(
    model=trained_model,
    training=rows(96, 0),
    evaluation=rows(60, 1),
    fine_tuning=FineTuning(epochs=2, batch_size=16),
)
'''

_STUDY: dict[str, Any] = {
    "study": "tiny",
    "task": "task.py:task",
    "space": {
        "sparsity": [0.0, 0.3, 0.5, 0.7, 0.9],
        "quantization": [
            "float32",
            "float16",
            "dynamic_int8",
            "int8",
            "int16x8",
            "weight_only_int8",
            "dynamic_int4",
        ],
        "delegate": ["none", "xnnpack"],
        "batch_size": [1, 4],
    },
    "objectives": ["accuracy", "size", "latency"],
}


def write_tiny_study(folder: Path, space: Mapping[str, Any]) -> str:
    """Writes the study and its task into a folder, and gives that folder's name.

    Args:
        folder: Where to.
        space: Choices to take in place of its own 130 cells', by dimension.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.py").write_text(_TASK, encoding="utf-8")
    study = _STUDY | {"space": _STUDY["space"] | dict(space)}
    (folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    return str(folder)
