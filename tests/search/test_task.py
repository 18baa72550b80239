"""What a user hands in: every problem of the data is found, and all of them at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from litefront.search.task import Dataset, Task
from litefront.spaces.training.fine_tuning import FineTuning

INPUTS = np.arange(24, dtype=np.float32).reshape(6, 2, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2])
TASK = Task(model="model.keras", evaluation=Dataset(INPUTS, LABELS), training=Dataset(INPUTS, LABELS))


def with_nan(array: np.ndarray) -> np.ndarray:
    array = array.astype(np.float32)
    array.reshape(-1)[:3] = (np.nan, np.inf, -np.inf)
    return array


def problems(**changes: Any) -> list[str]:
    return list(replace(TASK, **changes).problems())


def test_a_sound_task_has_no_problems() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"training": None},
        {"evaluation": Dataset(INPUTS)},
        {"evaluation": Dataset(INPUTS), "metric": "cosine"},
        {"representative": INPUTS[:1]},
        {"evaluation": Dataset(INPUTS[:1], LABELS[:1])},
        {"evaluation": Dataset(INPUTS.astype(np.uint8), LABELS > 0)},
        {"evaluation": Dataset(INPUTS, np.eye(3)[LABELS])},
        {"metric": lambda _outputs, _labels: 1.0},
    ],
)
def test_what_may_be_left_out_or_given_otherwise_is_no_problem(changes: dict[str, Any]) -> None:
    assert problems(**changes) == []


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (Dataset(INPUTS[:0], LABELS[:0]), "evaluation inputs must have at least one row, but they are empty"),
        (Dataset(np.array(1.0), LABELS), "evaluation inputs must have at least one row"),
        (Dataset(INPUTS, np.array(1)), "evaluation labels must have at least one row"),
        (Dataset(with_nan(INPUTS), LABELS), "inputs must be finite, but 3 of 24 values are NaN or infinite"),
        (Dataset(INPUTS, with_nan(LABELS)), "labels must be finite, but 3 of 6 values are NaN or infinite"),
        (Dataset(INPUTS.astype(str), LABELS), "inputs must be numbers, but got the type <U32"),
        (Dataset(INPUTS, LABELS.astype(object)), "labels must be numbers, but got the type object"),
        (Dataset(INPUTS, LABELS[:5]), "as many labels as inputs, but got 5 labels for 6 inputs"),
        (Dataset(INPUTS.tolist(), LABELS), "inputs must be a numpy array, but got list"),
        (Dataset([[1.0], [1.0, 2.0]], LABELS), "inputs must be a numpy array, but got list"),
        (Dataset(None, LABELS), "inputs must be a numpy array, but got NoneType"),
        (Dataset(INPUTS, 3), "labels must be a numpy array, but got int"),
    ],
)
def test_evaluation_data_that_cannot_be_used_is_told(data: Dataset, rule: str) -> None:
    assert [problem for problem in problems(evaluation=data) if rule in problem]


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (Dataset(INPUTS[:0], LABELS[:0]), "training inputs must have at least one row"),
        (Dataset(with_nan(INPUTS), LABELS), "training inputs must be finite"),
        (Dataset(INPUTS, LABELS[:2]), "training data must have as many labels as inputs"),
        (Dataset(INPUTS[:, :1], LABELS), r"shape of an evaluation row (2, 2), but got (1, 2)"),
        (Dataset(INPUTS.reshape(6, 4), LABELS), r"shape of an evaluation row (2, 2), but got (4,)"),
        (Dataset(None, LABELS), "training inputs must be a numpy array"),
    ],
)
def test_training_data_that_cannot_be_used_is_told(data: Dataset, rule: str) -> None:
    assert [problem for problem in problems(training=data) if rule in problem]


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (INPUTS[:0], "representative inputs must have at least one row"),
        (with_nan(INPUTS), "representative inputs must be finite"),
        (INPUTS[:, 0], "A row of the representative inputs must have the shape of an evaluation row (2, 2)"),
        ("rows.npy", "representative inputs must be a numpy array, but got str"),
    ],
)
def test_representative_rows_that_cannot_be_used_are_told(rows: Any, rule: str) -> None:
    assert [problem for problem in problems(representative=rows) if rule in problem]


@pytest.mark.parametrize(
    ("name", "data", "came"),
    [
        ("evaluation", (INPUTS, LABELS), "tuple"),
        ("evaluation", None, "NoneType"),
        ("training", (INPUTS, LABELS), "tuple"),
        ("training", INPUTS, "ndarray"),
    ],
)
def test_data_that_is_no_dataset_is_told(name: str, data: Any, came: str) -> None:
    assert problems(**{name: data}) == [f"`{name}` must be a litefront.search.Dataset, but got {came}."]


def test_an_unknown_metric_is_told_with_the_names_of_the_known_ones() -> None:
    (problem,) = problems(metric="top2")
    assert "'top2'" in problem
    assert all(name in problem for name in ("top1", "argmax_agreement", "package.module:function"))


@pytest.mark.parametrize("metric", ["nothing.of.that.name:score", "math:nothing"])
def test_a_metric_that_cannot_be_imported_is_told(metric: str) -> None:
    (problem,) = problems(metric=metric)
    assert f"{metric!r} cannot be imported" in problem


def test_a_metric_of_labels_needs_labels() -> None:
    (problem,) = problems(evaluation=Dataset(INPUTS), metric="top1")
    assert problem == "The metric top1 needs `evaluation` labels, but there are none."


NAMED = {"image": INPUTS, "number": np.arange(6)[:, None]}


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation": Dataset(NAMED, LABELS), "training": Dataset(NAMED, LABELS), "representative": NAMED},
        {"evaluation": Dataset(NAMED, {"a": LABELS, "b": LABELS}), "training": None, "output": "b"},
        {"evaluation": Dataset(NAMED, {"a": LABELS}), "training": None},
        {"evaluation": Dataset(NAMED), "training": None, "metric": "cosine"},
    ],
)
def test_several_inputs_and_outputs_go_by_name(changes: dict[str, Any]) -> None:
    assert problems(**changes) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"evaluation": Dataset({"image": INPUTS, "number": LABELS[:5]}, LABELS), "training": None},
            "The evaluation data must have as many rows in every array, but got 6 in the evaluation inputs `image`, "
            "5 in the evaluation inputs `number`, 6 in the evaluation labels.",
        ),
        (
            {"evaluation": Dataset({"image": INPUTS, "number": None}, LABELS), "training": None},
            "The evaluation inputs `number` must be a numpy array, but got NoneType.",
        ),
        (
            {"evaluation": Dataset({}, LABELS), "training": None},
            "The evaluation inputs must be a numpy array, but got dict.",
        ),
        (
            {"evaluation": Dataset(NAMED, LABELS)},
            "The training data must have the evaluation data's inputs `image`, inputs `number`, but it has inputs.",
        ),
        (
            {"evaluation": Dataset(NAMED, LABELS), "training": None, "representative": NAMED | {"number": INPUTS}},
            "A row of the representative inputs `number` must have the shape of an evaluation row (1,), "
            "but got (2, 2).",
        ),
        (
            {"evaluation": Dataset(INPUTS, {"a": LABELS, "b": LABELS})},
            "`output` must name the output that is scored, one of a, b, but it is not given.",
        ),
        (
            {"evaluation": Dataset(INPUTS, {"a": LABELS}), "output": "c"},
            "The evaluation labels must have those of the output c, but got a.",
        ),
    ],
)
def test_named_rows_that_cannot_be_used_are_told(changes: dict[str, Any], told: str) -> None:
    assert told in problems(**changes)


def test_the_labels_of_the_scored_output_are_those_that_count() -> None:
    labels = {"a": LABELS, "b": LABELS + 1}
    np.testing.assert_array_equal(
        replace(TASK, evaluation=Dataset(INPUTS, labels), output="b").scored_labels(), LABELS + 1
    )
    assert replace(TASK, evaluation=Dataset(INPUTS)).scored_labels() is None


def test_calibration_takes_the_same_rows_of_every_input() -> None:
    rows = replace(TASK, training=Dataset({"a": np.arange(1000), "b": -np.arange(1000)})).calibration_rows(200)
    assert isinstance(rows, dict) and len(rows["a"]) == 200
    np.testing.assert_array_equal(rows["a"], -rows["b"])


def test_all_problems_are_told_at_once() -> None:
    told = problems(
        evaluation=Dataset(with_nan(INPUTS), LABELS[:5]),
        training=Dataset(INPUTS[:, :1], LABELS),
        representative=INPUTS[:0],
        metric="top2",
    )
    for words in ("evaluation inputs must be finite", "5 labels", "training inputs", "representative inputs", "top2"):
        assert len([problem for problem in told if words in problem]) == 1, words


@pytest.mark.parametrize(
    ("labels", "metric", "scored_by", "is_fidelity"),
    [
        (LABELS, None, "top1", False),
        (None, None, "argmax_agreement", True),
        (None, "cosine", "cosine", True),
        (LABELS, "cosine", "cosine", True),
        (LABELS, "macro_f1", "macro_f1", False),
    ],
)
def test_the_metric_is_chosen_by_the_labels(
    labels: np.ndarray | None, metric: str | None, scored_by: str, is_fidelity: bool
) -> None:
    task = replace(TASK, evaluation=Dataset(INPUTS, labels), metric=metric)
    assert (task.scored_by, task.is_fidelity) == (scored_by, is_fidelity)


def test_calibration_takes_the_representative_rows_if_there_are_any() -> None:
    rows = replace(TASK, representative=INPUTS[1:3]).calibration_rows(200)
    assert isinstance(rows, np.ndarray)
    np.testing.assert_array_equal(rows, INPUTS[1:3])


def test_calibration_takes_evenly_spaced_training_rows() -> None:
    inputs = np.arange(1000, dtype=np.float32)[:, None]
    rows = replace(TASK, training=Dataset(inputs)).calibration_rows(200)
    assert isinstance(rows, np.ndarray)
    np.testing.assert_array_equal(rows[:, 0], np.arange(0, 1000, 5))


def test_without_rows_there_is_no_calibration() -> None:
    task = replace(TASK, training=None)
    assert task.calibration_rows(200) is None
    assert "representative" in str(task.calibration_refusal())
    assert TASK.calibration_refusal() is None


@pytest.mark.parametrize(
    ("training", "distillation", "words"),
    [
        (None, 1.0, "needs training data"),
        (Dataset(INPUTS), 0.5, "labelled training data, or `distillation: 1`"),
        (Dataset(INPUTS), 1.0, None),
        (Dataset(INPUTS, LABELS), 0.0, None),
    ],
)
def test_training_needs_labels_or_a_teacher(training: Dataset | None, distillation: float, words: str | None) -> None:
    refusal = replace(TASK, training=training, fine_tuning=FineTuning(distillation=distillation)).training_refusal()
    assert refusal is None if words is None else words in str(refusal)
