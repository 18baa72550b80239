"""Gets the face mesh from MediaPipe's wheel, and images from scikit-image's, without installing either.

python -m litefront.studies.faces.fetch
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from litefront.studies.fetching import fetch, pypi_package
from litefront.studies.packaged_data import fetched_folder

__all__ = ["fetch_face_mesh"]

_FILES = {
    "mediapipe==0.10.14": "mediapipe/modules/face_landmark/face_landmark.tflite",
    "scikit-image==0.26.0": "skimage/data/lfw_subset.npy",
}
"""What is taken from which package's wheel."""


def fetch_face_mesh() -> Path:
    """Fetches the files and gives the folder that they are in."""
    target = fetched_folder("face-mesh")
    for requirement, member in _FILES.items():
        with tempfile.TemporaryDirectory() as scratch:
            wheel = pypi_package(requirement, Path(scratch))
            target.mkdir(parents=True, exist_ok=True)
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(member) as packed,
                open(target / Path(member).name, "wb") as file,
            ):
                shutil.copyfileobj(packed, file)
    return target


if __name__ == "__main__":
    sys.exit(fetch(fetch_face_mesh))
