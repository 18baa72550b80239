"""Whole studies of models with several inputs and outputs: by Keras 3 and labels, and a `.tflite` by fidelity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from litefront.search.release import check_bundle, export_tier, measured_file
from litefront.search.run_directory import RunDirectory
from litefront.search.study_file import read_study_file
from litefront.search.study_results import StudyResults
from litefront.search.study_run import RunOptions, run_study
from litefront.spaces.errors import InputError
from tests.search.test_study_run import Listener
from tests.search.tiny_study import SHORT_TIMING, write_study

TASK = '''
"""Two inputs, of which one is words, and two outputs, of which one has labels that count."""
import numpy as np
from litefront.search import Dataset, Task

rng = np.random.default_rng(0)
labels = np.arange(60) % 3
inputs = {
    "curve": (rng.random((60, 6)) + np.eye(3)[labels].repeat(2, axis=1)).astype(np.float32),
    "words": rng.integers(0, 50, (60, 4)),
}
rows = Dataset(inputs, {"classes": labels, "mean": inputs["curve"].mean(axis=1)})

class Halved(__import__("keras").layers.Layer):
    """A layer of one's own, of Keras 3."""
    def call(self, inputs):
        return inputs / 2

def model():
    import keras
    curve = keras.layers.Input((6,), name="curve")
    words = keras.layers.Input((None,), name="words", dtype="int32")
    meaning = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(50, 4)(words))
    both = Halved()(keras.layers.Concatenate()([curve, meaning]))
    classes = keras.layers.Dense(3, activation="softmax", name="classes")(both)
    return keras.Model([words, curve], [keras.layers.Dense(1, name="mean")(both), classes])

task = Task(
    model=model,
    evaluation=rows,
    representative=inputs,
    output="classes",
    custom_objects={"Halved": Halved},
)
'''
STUDY = {
    "space": {"sparsity": [0.0], "quantization": ["float32", "int8"], "batch_size": [1, 4]},
    "tiers": {"entry": {"device": "host", "limits": {}, "prefer": "latency"}},
}


def run(folder: Path, files: dict[str, str] | None = None, **changes: Any) -> StudyResults:
    """Runs the study of the task above, or of files."""
    study = write_study(folder / "study", task=TASK, **(STUDY | changes))
    if files is not None:
        content = yaml.safe_load((folder / "study" / "study.yaml").read_text(encoding="utf-8")) | {"task": files}
        (folder / "study" / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        study = read_study_file(str(folder / "study"))
    return run_study(study, RunDirectory(folder / "run"), Listener(), RunOptions(serial=True, timing=SHORT_TIMING))


@pytest.fixture(scope="module")
def by_keras_3(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    return run(tmp_path_factory.mktemp("several"))


def test_every_cell_of_a_model_of_several_inputs_is_measured(by_keras_3: StudyResults) -> None:
    assert len(by_keras_3.measured) == 4, [record.reason for record in by_keras_3.records]
    for record in by_keras_3.measured:
        accuracy = record.figures["accuracy"]
        assert accuracy.source.startswith("top1 of classes on 60 rows")
        assert record.facts["nodes"] > 0
    model = by_keras_3.context.model
    assert model["format"] == "keras3"
    assert [(spec["name"], spec["shape"]) for spec in model["inputs"]] == [("words", [-1, -1]), ("curve", [-1, 6])]


def test_its_bundle_names_inputs_and_outputs_and_holds(by_keras_3: StudyResults, tmp_path: Path) -> None:
    bundle = export_tier(by_keras_3, "entry", tmp_path / "bundle")
    assert check_bundle(bundle) == []
    from ai_edge_litert.interpreter import Interpreter

    (signature,) = Interpreter(str(bundle / "model.tflite")).get_signature_list().values()
    assert {name: sorted(names) for name, names in signature.items()} == {
        "inputs": ["curve", "words"],
        "outputs": ["classes", "mean"],
    }


def files_task(folder: Path, content: bytes, **keys: str) -> dict[str, str]:
    (folder / "study").mkdir()
    (folder / "study" / "model.tflite").write_bytes(content)
    rng = np.random.default_rng(1)
    np.savez(
        folder / "study" / "rows.npz",
        **{
            "evaluation_inputs/curve": rng.random((40, 6)).astype(np.float32),
            "evaluation_inputs/words": rng.integers(0, 50, (40, 4)),
        },
    )
    return {"model": "model.tflite", "data": "rows.npz"} | keys


def baseline_file(results: StudyResults) -> bytes:
    assert results.baseline is not None
    return measured_file(results, results.baseline).read_bytes()


def test_a_file_of_several_outputs_is_searched_by_all_of_them_together(
    by_keras_3: StudyResults, tmp_path: Path
) -> None:
    keys = files_task(tmp_path, baseline_file(by_keras_3), metric="cosine")
    space = {"sparsity": [0.0], "quantization": ["float32", "dynamic_int8"], "batch_size": [1, 4]}
    results = run(tmp_path, keys, space=space)
    assert results.context.model["format"] == "tflite"
    # The file was made for one row a call; others have been made of it.
    assert {record.config.batch_size for record in results.measured} == {1, 4}
    for record in results.measured:
        assert record.figures["accuracy"].value == pytest.approx(1.0, abs=0.01)


def test_a_metric_of_labels_needs_one_of_several_outputs(by_keras_3: StudyResults, tmp_path: Path) -> None:
    keys = files_task(tmp_path, baseline_file(by_keras_3), output="other")
    with pytest.raises(InputError, match="`output` must be one of the model's outputs, mean, classes, but got other"):
        run(tmp_path, keys)
