"""The studies that come along with their data: each loads as it stands, and loading them needs no TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from litefront.search.study_file import read_study_file, ready_made_studies
from litefront.search.task import Task
from litefront.search.task_loading import load_task
from litefront.spaces.dimension import Capabilities
from tests.studies.test_fetched import FETCHED

EXPECTED = {
    "mnist": {"row": (28, 28, 1), "classes": 10, "training": 4000, "evaluation": 1000},
    "vowels": {"row": (29, 1, 12), "classes": 9, "training": 270, "evaluation": 370},
}
"""Rows and shapes as the data's own sources give them: MNIST-5k, and JapaneseVowels of the UCI archive."""

LOAD = """
import json, sys
from litefront.search.study_file import read_study_file
from litefront.search.task_loading import load_task

load_task(read_study_file(sys.argv[1]))
print(json.dumps([name for name in ("tensorflow", "tf_keras", "keras", "ray") if name in sys.modules]))
"""


@pytest.fixture(scope="module", params=EXPECTED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def task(name: str) -> Task:
    return load_task(read_study_file(name)).task


def test_every_study_that_comes_along_is_tested() -> None:
    assert ready_made_studies().keys() == {*EXPECTED, *FETCHED}


def test_a_study_bears_the_name_of_its_folder(name: str) -> None:
    assert read_study_file(name).spec.study == name


def test_data_and_labels_are_what_the_model_takes(name: str, task: Task) -> None:
    expected = EXPECTED[name]
    assert task.training is not None
    for part, data in (("training", task.training), ("evaluation", task.evaluation)):
        assert data.inputs.shape == (expected[part], *expected["row"])  # type: ignore[misc]
        assert data.inputs.dtype == np.float32
        assert data.labels is not None and data.labels.shape == (expected[part],)
        assert set(np.unique(data.labels)) == set(range(expected["classes"]))  # type: ignore[call-overload]


def test_no_row_is_both_trained_and_scored_on(task: Task) -> None:
    assert task.training is not None
    trained = {row.tobytes() for row in task.training.inputs}
    assert not trained & {row.tobytes() for row in task.evaluation.inputs}


def test_calibration_rows_are_training_rows(task: Task) -> None:
    rows = task.calibration_rows(200)
    assert isinstance(rows, np.ndarray) and len(rows) == 200
    assert task.training is not None
    assert {row.tobytes() for row in rows} <= {row.tobytes() for row in task.training.inputs}


def test_no_choice_of_the_space_is_refused_on_two_cores(name: str, task: Task) -> None:
    assert (task.training_refusal(), task.calibration_refusal()) == (None, None)
    space = read_study_file(name).spec.space.search_space()
    assert dict(space.refusals(Capabilities(cores=2))) == {}


def test_loading_a_study_imports_nothing_slow(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", LOAD, name]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []
