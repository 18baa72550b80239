"""The studies whose data is fetched: each loads from files in the packages' forms, and without TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from litefront.search.study_file import read_study_file
from litefront.search.task import Task
from litefront.search.task_loading import load_task
from litefront.spaces.errors import InputError
from litefront.studies.packaged_data import VARIABLE
from tests.studies.made_data import write_face_mesh, write_fashion_mnist, write_minilm

FETCHED = ("faces", "minilm", "mobilenet")

NEEDS_TEXT = pytest.mark.skipif(find_spec("tokenizers") is None, reason="needs the extra `text`")

LOAD = """
import json, sys
from litefront.search.study_file import read_study_file
from litefront.search.task_loading import load_task

load_task(read_study_file(sys.argv[1]))
print(json.dumps([name for name in ("tensorflow", "tf_keras", "keras", "ray") if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def clothes(data: Path) -> dict[str, np.ndarray]:
    return write_fashion_mnist(data / "fashion-mnist")


@pytest.fixture(scope="module")
def patches(data: Path) -> np.ndarray:
    return write_face_mesh(data / "face-mesh")


@pytest.fixture(scope="module")
def reviews(data: Path) -> None:
    write_minilm(data / "minilm")


@pytest.fixture(scope="module")
def mobilenet(clothes: dict[str, np.ndarray]) -> Task:
    return load_task(read_study_file("mobilenet")).task


@pytest.fixture(scope="module")
def faces(patches: np.ndarray) -> Task:
    return load_task(read_study_file("faces")).task


def test_clothes_are_the_files_images_enlarged_to_three_channels(
    mobilenet: Task, clothes: dict[str, np.ndarray]
) -> None:
    assert mobilenet.training is not None and mobilenet.evaluation.labels is not None
    assert mobilenet.training.inputs.shape == (12, 40, 40, 3)
    assert mobilenet.training.inputs.dtype == np.float32
    assert mobilenet.training.inputs.min() >= 0 and mobilenet.training.inputs.max() <= 1
    # The corners' pixels lie outside the old centres, so they keep their values.
    corners = mobilenet.evaluation.inputs[:, ::39, ::39, 0] * 255
    np.testing.assert_allclose(corners, clothes["t10k-images"][:, ::27, ::27], rtol=1e-5)
    np.testing.assert_array_equal(mobilenet.evaluation.labels, clothes["t10k-labels"])


def test_calibration_rows_of_clothes_are_training_rows(mobilenet: Task) -> None:
    rows = mobilenet.calibration_rows(200)
    assert rows is not None and mobilenet.training is not None
    np.testing.assert_array_equal(rows, mobilenet.training.inputs[: len(rows)])


def test_faces_stand_in_a_grey_frame(faces: Task) -> None:
    rows = faces.evaluation.inputs
    assert rows.shape == (3, 192, 192, 3)
    assert rows.dtype == np.float32
    assert (rows[:, :19] == 0.5).all() and (rows[:, :, -19:] == 0.5).all()
    assert (rows[:, 19:-19, 19:-19] != 0.5).mean() > 0.99


def test_faces_have_no_labels_and_are_not_calibrated_on_what_is_scored(faces: Task) -> None:
    assert faces.is_fidelity and faces.training is None
    calibration = faces.calibration_rows(200)
    assert calibration is not None
    assert not {row.tobytes() for row in calibration} & {row.tobytes() for row in faces.evaluation.inputs}


@NEEDS_TEXT
@pytest.mark.usefixtures("reviews")
def test_sentences_are_token_ids_and_signs_and_each_is_in_one_part() -> None:
    minilm = load_task(read_study_file("minilm")).task
    assert minilm.training is not None
    for data, rows in ((minilm.training, 20), (minilm.evaluation, 1500)):
        assert isinstance(data.inputs, np.ndarray) and data.labels is not None
        assert data.inputs.shape == (rows, 48) and data.inputs.dtype == np.int32
        # Ids begin at 2, and 40 is even: whether a made sentence is positive shows in its second word.
        np.testing.assert_array_equal(data.labels, 1 - (data.inputs[:, 1] - 2) % 2)
    parts = [np.unique(data.inputs, axis=0) for data in (minilm.training, minilm.evaluation)]
    assert len(np.unique(np.concatenate(parts), axis=0)) == 1520


@pytest.mark.parametrize("name", FETCHED)
def test_a_study_bears_the_name_of_its_folder(name: str) -> None:
    assert read_study_file(name).spec.study == name


@pytest.mark.usefixtures("clothes", "patches", "reviews")
@pytest.mark.parametrize("name", ["faces", pytest.param("minilm", marks=NEEDS_TEXT), "mobilenet"])
def test_loading_a_study_imports_nothing_slow(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", LOAD, name]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


def test_without_its_data_a_study_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=r"^The study faces needs face_landmark.tflite and lfw_subset.npy in .*fetch"):
        load_task(read_study_file("faces"))
