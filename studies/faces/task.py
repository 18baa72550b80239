"""A ready-made `.tflite` without training data: MediaPipe's face mesh, scored by its fidelity to itself.

The model finds 468 points of a face, and says whether there is one; its file has half-precision weights, two outputs
and no signature. The rows are real, but coarse: the 25 x 25 pixels of scikit-image's `lfw_subset`, 100 faces and 100
other patches, enlarged and framed as the model's pipeline frames a face. Every second one is for calibration.
"""

from __future__ import annotations

import numpy as np

from litefront.search import Dataset, Task
from litefront.studies.images import in_three_channels, resized
from litefront.studies.packaged_data import find_folder

__all__ = ["MODEL", "PATCHES", "framed", "task"]

MODEL = "face_landmark.tflite"
PATCHES = "lfw_subset.npy"

SIDE = 192
MARGIN = 0.25
"""The room that MediaPipe's pipeline leaves around a face, as a share of the face."""


def framed(patches: np.ndarray) -> np.ndarray:
    """Puts grey patches into the middle of a mid-grey frame of the model's size.

    Args:
        patches: Values in [0, 1], shape `(rows, pixels, pixels)`.

    Returns:
        float32 in [0, 1], shape `(rows, 192, 192, 3)`.
    """
    inner = 2 * round(SIDE / (1 + MARGIN) / 2)
    edge = (SIDE - inner) // 2
    frames = np.full((len(patches), SIDE, SIDE), 0.5, np.float32)
    frames[:, edge : edge + inner, edge : edge + inner] = resized(patches, inner)
    return in_three_channels(frames)


_folder = find_folder("face-mesh", [MODEL, PATCHES], study="faces")
_rows = framed(np.load(_folder / PATCHES))
task = Task(
    model=_folder / MODEL,
    evaluation=Dataset(_rows[0::2]),
    representative=_rows[1::2],
    metric="cosine",
)
