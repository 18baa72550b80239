"""A study small enough to be run for real within a test: a tiny model, made-up rows, and short timing."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml

from litefront.objectives.timing import Timing
from litefront.search.study_file import StudyFile, read_study_file

SHORT_TIMING = Timing(min_rounds=3, round_s=0.005, max_s=0.05, warm_up_max_s=0.02, cold_starts=1, repeat_calm_max_s=0.0)

TASK = '''
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

STUDY: dict[str, Any] = {
    "study": "tiny",
    "task": "task.py:task",
    "space": {"sparsity": [0.0, 0.5], "quantization": ["float32", "int8"], "batch_size": [1, 4]},
    "objectives": ["accuracy", "size", "latency"],
    # How often a cell is measured again hangs on how noisy the machine is.
    "budget": {"remeasure": 0},
}


def write_study(folder: Path, *, task: str = TASK, **changes: Any) -> StudyFile:
    """Writes the study and its task into a folder; the keywords replace keys of the study file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.py").write_text(dedent(task), encoding="utf-8")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY | changes), encoding="utf-8")
    return read_study_file(str(folder))
