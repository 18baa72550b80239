"""Stages end to end on a tiny task: what each leaves, and how whatever goes wrong comes back."""

from __future__ import annotations

import json
import runpy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.objectives.devices import HostDevice
from litefront.objectives.fidelity import Fidelity
from litefront.objectives.screening import PairedScores, row_order
from litefront.objectives.timing import Timing
from litefront.search.digests import digest_of_path
from litefront.search.stage_calls import StageCall
from litefront.search.stage_run import StageDone, run_stage
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.task import Dataset, Task
from litefront.search.workplace import Workplace
from litefront.spaces.base_model import BaseModel, ModelFormat, load_keras
from litefront.spaces.errors import CandidateError, InputError, StoreError
from litefront.spaces.quantization import Quantization
from litefront.spaces.training.fine_tuning import FineTuning
from tests.conftest import CLASSES, run_rows

Rows = tuple[np.ndarray, np.ndarray]
QUICK = Timing(min_rounds=3, round_s=0.01, max_s=0.1, warm_up_max_s=0.05, cold_starts=1)
XNNPACK = {"delegate": "xnnpack", "num_threads": 1}


def keep_array(store: ArtifactStore, array: np.ndarray) -> str:
    with store.scratch() as folder:
        np.save(folder / "array.npy", array)
        return store.add_object(folder / "array.npy")


def succeed(call: StageCall, workplace: Workplace) -> StageRecord:
    done = run_stage(call, workplace)
    assert done.record is not None, done.details
    return done.record


def fail(call: StageCall, workplace: Workplace, kind: type[Exception]) -> StageDone:
    done = run_stage(call, workplace)
    assert done.record is None and type(done.error) is kind, done
    assert workplace.store.find(call.stage, call.key) is None
    assert list(workplace.store.root.glob("scratch-*")) == []
    return done


CALIBRATION = {"calibration": "min_max", "calibration_rows": 200}


class Made:
    """A workplace and what each stage left in it, made once, in the order of a candidate's life."""

    def __init__(self, folder: Path, model: BaseModel, rows: Rows) -> None:
        inputs, labels = rows
        task = Task(
            model=lambda: load_keras(model),
            evaluation=Dataset(inputs, labels),
            training=Dataset(inputs, labels),
            fine_tuning=FineTuning(epochs=4, batch_size=8, learning_rate=1e-3),
        )
        self.workplace = Workplace(ArtifactStore(folder), task, HostDevice())
        self.rows = keep_array(self.workplace.store, inputs)
        self.labels = keep_array(self.workplace.store, labels)
        self.base = self.run("base", {"seed": 0})
        self.pruned = self.run("pruned", {"sparsity": 0.5, "format": "keras"}, model=self.base.objects["model"])
        self.float_tflite = self.run(
            "float_tflite", {"batch_size": 4, "format": "keras"}, model=self.base.objects["model"]
        )
        self.quantized = self.quantize(Quantization.INT8)
        self.reference = self.run_on_rows("reference", XNNPACK, self.quantize(Quantization.FLOAT32))
        self.accuracy = self.run_on_rows(
            "accuracy", XNNPACK, self.quantized, labels=self.labels, **self.float_answers()
        )
        self.latency = self.run_on_rows("latency", XNNPACK | {"timing": QUICK.to_json()}, self.quantized)

    def run(self, stage: str, params: dict[str, Any], **inputs: str) -> StageRecord:
        return succeed(StageCall(stage, params, inputs), self.workplace)

    def float_answers(self) -> dict[str, str]:
        return {"float_outputs": self.reference.objects["outputs"]}

    def quantize(self, quantization: Quantization) -> StageRecord:
        inputs = {"tflite": self.float_tflite.objects["tflite"]}
        params: dict[str, Any] = CALIBRATION if quantization.is_calibrated else {}
        if quantization.is_mixed:
            params |= {"max_drop": 0.01}
            inputs["sensitivity"] = self.run("sensitivity", CALIBRATION, **inputs).objects["sensitivity"]
        return self.run("quantized", {"quantization": quantization.value} | params, **inputs)

    def quantize_in_training(self, preserves: str | None = None) -> StageRecord:
        source = self.pruned if preserves else self.base
        trained = self.run(
            "quantization_aware", {"format": "keras", "preserves": preserves}, model=source.objects["model"]
        )
        params = {"quantization": "qat_int8", "batch_size": 4, "format": "keras", "preserves": preserves}
        return self.run("quantized", params, model=trained.objects["model"])

    def run_on_rows(self, stage: str, params: dict[str, Any], file: StageRecord, **inputs: str) -> StageRecord:
        return self.run(stage, params, tflite=file.objects["tflite"], rows=self.rows, **inputs)

    def content(self, record: StageRecord, name: str) -> bytes:
        return self.workplace.store.path(record.objects[name]).read_bytes()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, keras_classifier: BaseModel, rows: Rows) -> Made:
    return Made(tmp_path_factory.mktemp("store"), keras_classifier, rows)


# ---------------------------------------------------------------------------------------- what stages leave


def test_base_says_what_the_model_takes_and_allows(made: Made) -> None:
    facts = made.base.facts
    assert (facts["format"], facts["refusals"]["pruning"], facts["fixed_batch_size"]) == ("keras", {}, None)
    (taken,) = facts["inputs"]
    assert (tuple(taken["shape"]), taken["dtype"]) == ((-1, 8, 8, 1), "float32")


def test_a_pruned_model_has_the_zeros_that_were_asked_for(made: Made) -> None:
    path = made.workplace.store.path(made.pruned.objects["model"])
    model = load_keras(BaseModel(path, ModelFormat.KERAS, {}))
    kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]
    assert len(kernels) == 2
    assert [round(float(np.mean(kernel == 0)), 1) for kernel in kernels] == [0.5, 0.5]


@pytest.mark.parametrize("sparsity", ["block:0.5", "2:4"])
def test_a_pattern_of_zeros_is_in_the_model(made: Made, sparsity: str) -> None:
    record = made.run("pruned", {"sparsity": sparsity, "format": "keras"}, model=made.base.objects["model"])
    model = load_keras(BaseModel(made.workplace.store.path(record.objects["model"]), ModelFormat.KERAS, {}))
    assert any(np.mean(layer.kernel.numpy() == 0) >= 0.5 for layer in model.layers if hasattr(layer, "kernel"))


def test_removed_channels_leave_a_smaller_model_and_what_was_removed(made: Made) -> None:
    record = made.run(
        "pruned",
        {"sparsity": "channel:0.5", "format": "keras", "teacher_format": "keras"},
        model=made.base.objects["model"],
        teacher=made.base.objects["model"],
    )
    parameters = record.facts["pruning"]["parameters"]
    assert parameters["after"] < parameters["before"]


def test_clustered_weights_keep_the_zeros_of_pruned_ones(made: Made) -> None:
    params = {"clusters": 4, "preserves_sparsity": True, "format": "keras"}
    record = made.run("clustered", params, model=made.pruned.objects["model"])
    model = load_keras(BaseModel(made.workplace.store.path(record.objects["model"]), ModelFormat.KERAS, {}))
    kernels = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]
    assert all(len(np.unique(kernel)) <= 5 and np.mean(kernel == 0) >= 0.4 for kernel in kernels)


@pytest.mark.parametrize("preserves", [None, "sparsity"])
def test_training_for_quantization_leaves_a_file_of_integers_that_runs(made: Made, preserves: str | None) -> None:
    file = made.quantize_in_training(preserves)
    counted = file.facts["counted"]
    assert counted["quantized_share"] == 1.0
    assert preserves is None or counted["prunable_sparsity"] >= 0.45
    record = made.run_on_rows("accuracy", XNNPACK, file, labels=made.labels, **made.float_answers())
    assert 0 <= record.facts["figures"]["accuracy"]["value"] <= 1


def test_mixed_precision_says_which_operators_it_spared(made: Made) -> None:
    assert isinstance(made.quantize(Quantization.MIXED_INT8).facts["counted"]["fragile"], list)


def test_zeros_that_are_left_out_make_a_smaller_file_of_the_same_answers(made: Made, rows: Rows) -> None:
    float_tflite = made.run("float_tflite", {"batch_size": 4, "format": "keras"}, model=made.pruned.objects["model"])
    inputs = {"tflite": float_tflite.objects["tflite"]}
    dense, sparse = (
        made.run("quantized", {"quantization": "float32"} | storage, **inputs)
        for storage in ({}, {"storage": "sparse"})
    )
    assert sparse.facts["figures"]["size_bytes"]["value"] < dense.facts["figures"]["size_bytes"]["value"]
    assert sparse.facts["counted"]["sparse_storage"]["zeros"] > 0
    scored = made.run_on_rows("accuracy", XNNPACK, sparse, labels=made.labels, **made.float_answers())
    assert scored.facts["counted"]["sparse_kernels"]["possible"] is False  # there is no 1x1 convolution
    answers = (run_rows(made.content(record, "tflite"), rows[0]) for record in (dense, sparse))
    np.testing.assert_allclose(*answers, atol=1e-6)


def test_a_float_tflite_takes_the_batch_that_was_asked_for(made: Made, rows: Rows) -> None:
    outputs = run_rows(made.content(made.float_tflite, "tflite"), rows[0])
    assert outputs.shape == (len(rows[0]), CLASSES)


def test_a_quantized_file_comes_with_its_sizes_and_what_was_counted_in_it(made: Made) -> None:
    figures, counted = made.quantized.facts["figures"], made.quantized.facts["counted"]
    content = made.content(made.quantized, "tflite")
    assert figures["size_bytes"]["value"] == len(content)
    assert 0 < figures["download_bytes"]["value"] < len(content) < len(made.content(made.float_tflite, "tflite"))
    assert counted["quantized_share"] == 1.0
    assert 0 < counted["ops_quantized"] <= counted["ops"]


def test_float32_is_the_converted_file_itself(made: Made) -> None:
    assert made.quantize(Quantization.FLOAT32).objects["tflite"] == made.float_tflite.objects["tflite"]


@pytest.mark.parametrize("quantization", [q for q in Quantization if q is not Quantization.QAT_INT8])
def test_every_quantization_leaves_a_file_that_runs(made: Made, quantization: Quantization) -> None:
    record = made.run_on_rows(
        "accuracy", XNNPACK, made.quantize(quantization), labels=made.labels, **made.float_answers()
    )
    assert 0 <= record.facts["figures"]["accuracy"]["value"] <= 1


def test_the_reference_is_what_the_float_model_answers(made: Made, rows: Rows) -> None:
    kept = np.load(made.workplace.store.path(made.reference.objects["outputs"]))
    np.testing.assert_allclose(kept, run_rows(made.content(made.float_tflite, "tflite"), rows[0]), atol=1e-6)


def test_accuracy_is_the_share_of_rows_that_the_file_itself_gets_right(made: Made, rows: Rows) -> None:
    answers = run_rows(made.content(made.quantized, "tflite"), rows[0]).argmax(axis=1)
    figure = made.accuracy.facts["figures"]["accuracy"]
    assert figure["value"] == pytest.approx(np.mean(answers == rows[1]))
    assert (figure["provenance"], figure["source"]) == ("measured", "top1 on 22 rows")
    low, high = figure["interval"]
    assert 0 <= low <= figure["value"] <= high <= 1


def test_accuracy_says_how_many_nodes_the_delegate_took(made: Made) -> None:
    counted = made.accuracy.facts["counted"]
    assert 0 < counted["delegated_nodes"] <= counted["nodes"]
    without = made.run_on_rows(
        "accuracy", XNNPACK | {"delegate": "none"}, made.quantized, labels=made.labels, **made.float_answers()
    )
    assert without.facts["counted"]["delegated_nodes"] == 0


def test_accuracy_compares_the_delegates_answers_with_the_built_in_kernels(made: Made, rows: Rows) -> None:
    from ai_edge_litert.interpreter import OpResolverType

    content, built_in = made.content(made.quantized, "tflite"), OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    expected = run_rows(content, rows[0], experimental_op_resolver_type=built_in)
    fidelity = made.accuracy.facts["counted"]["fidelity"]
    float_answers = np.load(made.workplace.store.path(made.float_answers()["float_outputs"]))
    assert fidelity == asdict(Fidelity.of(run_rows(content, rows[0]), expected, float_answers))
    without = made.run_on_rows(
        "accuracy", XNNPACK | {"delegate": "none"}, made.quantized, labels=made.labels, **made.float_answers()
    )
    assert "fidelity" not in without.facts["counted"]


def test_accuracy_leaves_the_score_of_each_row(made: Made, rows: Rows) -> None:
    answers = run_rows(made.content(made.quantized, "tflite"), rows[0]).argmax(axis=1)
    kept = np.load(made.workplace.store.path(made.accuracy.objects["scores"]))
    np.testing.assert_array_equal(kept, answers == rows[1])


def test_a_metric_of_one_number_leaves_no_scores(made: Made) -> None:
    call, workplace = scored(made, np.load(made.workplace.store.path(made.labels)), metric="macro_f1")
    assert succeed(call, workplace).objects == {}


def test_screening_compares_the_rows_of_its_look_with_the_baselines(made: Made, rows: Rows) -> None:
    store = made.workplace.store
    picked = row_order(len(rows[0]))[6:14]
    # A baseline that is right on even rows alone: what differs from it differs row by row.
    baseline = (np.arange(len(rows[0])) % 2 == 0).astype(float)
    record = made.run(
        "screening",
        XNNPACK | {"first": 6, "last": 14},
        tflite=made.quantized.objects["tflite"],
        rows=keep_array(store, rows[0][picked]),
        labels=made.labels,
        baseline_scores=keep_array(store, baseline),
        **made.float_answers(),
    )
    right = np.load(store.path(made.accuracy.objects["scores"]))[picked]
    seen = PairedScores(**record.facts["paired_scores"])
    assert (seen.rows, seen.score_sum, seen.right_or_wrong) == (8, right.sum(), True)
    assert seen.drop_sum == baseline[picked].sum() - right.sum()
    assert seen.drop_squares == np.count_nonzero(baseline[picked] != right)
    assert (record.facts["unit"], record.facts["source"]) == ("fraction", "top1 on 14 of 22 rows")
    # Of its own rows it says how the delegate answers them; what ran is the same.
    assert record.facts["counted"]["fidelity"]["rows"] == 8
    assert record.facts["counted"] | {"fidelity": None} == made.accuracy.facts["counted"] | {"fidelity": None}


def test_screening_by_fidelity_compares_with_the_float_models_answers(made: Made, rows: Rows) -> None:
    store, picked = made.workplace.store, row_order(len(rows[0]))[:8]
    inputs = {
        "tflite": made.quantized.objects["tflite"],
        "rows": keep_array(store, rows[0][picked]),
        "labels": made.reference.objects["outputs"],
        "baseline_scores": keep_array(store, np.ones(len(rows[0]))),
    } | made.float_answers()
    unlabelled = replace(made.workplace.task, evaluation=Dataset(rows[0]))
    call = StageCall("screening", XNNPACK | {"first": 0, "last": 8}, inputs)
    facts = succeed(call, replace(made.workplace, task=unlabelled)).facts
    ours = run_rows(made.content(made.quantized, "tflite"), rows[0][picked]).argmax(axis=1)
    theirs = np.load(store.path(made.reference.objects["outputs"]))[picked].argmax(axis=1)
    assert facts["paired_scores"]["drop_sum"] == np.count_nonzero(ours != theirs)
    assert facts["source"] == "argmax_agreement on 8 of 22 rows against the float model"


def test_latency_leaves_the_rounds_as_they_were_taken(made: Made) -> None:
    facts = made.latency.facts
    assert len(facts["rounds"]) >= QUICK.min_rounds and len(facts["cold_starts"]) == QUICK.cold_starts
    assert all(entry["calls"] >= 3 and entry["median_ms"] > 0 for entry in facts["rounds"])
    assert 0 < facts["delegated_nodes"] <= facts["nodes"]


def test_every_stage_is_found_again_by_its_key(made: Made) -> None:
    again = ArtifactStore(made.workplace.store.root)
    for record in (made.base, made.pruned, made.float_tflite, made.quantized, made.accuracy, made.latency):
        found = again.find(record.stage, record.key)
        assert found is not None and found.objects == record.objects
        assert json.loads(json.dumps(found.facts)) == found.facts


def test_stages_leave_no_scratch(made: Made) -> None:
    assert {path.name for path in made.workplace.store.root.iterdir()} == {"objects", "stages"}


def test_the_same_seed_trains_the_same_model(made: Made, tmp_path: Path) -> None:
    def untrained() -> Any:
        import tf_keras

        return tf_keras.Sequential(
            [tf_keras.layers.Input((8, 8, 1)), tf_keras.layers.Flatten(), tf_keras.layers.Dense(3)]
        )

    def weights(seed: int) -> np.ndarray:
        workplace = Workplace(
            ArtifactStore(tmp_path / str(len(list(tmp_path.iterdir())))), with_model(made, untrained), HostDevice()
        )
        record = succeed(StageCall("base", {"seed": seed}), workplace)
        path = workplace.store.path(record.objects["model"])
        return np.asarray(load_keras(BaseModel(path, ModelFormat.KERAS, {})).layers[-1].kernel)

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


# -------------------------------------------------------------------------------------- models from files


def with_model(made: Made, model: Any, **changes: Any) -> Task:
    return replace(made.workplace.task, model=model, **changes)


def elsewhere(made: Made, task: Task, folder: Path) -> Workplace:
    return Workplace(ArtifactStore(folder / "store"), task, made.workplace.device)


BASE = StageCall("base", {"seed": 0})


def test_a_keras_file_is_a_base_model(made: Made, keras_classifier: BaseModel, tmp_path: Path) -> None:
    record = succeed(BASE, elsewhere(made, with_model(made, keras_classifier.path), tmp_path))
    assert record.facts == made.base.facts


def test_a_tflite_file_is_a_base_model_whose_channels_stay(
    made: Made, candidate_files: dict[tuple[Quantization, int], Path], tmp_path: Path
) -> None:
    path = candidate_files[Quantization.FLOAT32, 4]
    workplace = elsewhere(made, with_model(made, path), tmp_path)
    record = succeed(BASE, workplace)
    assert (record.facts["format"], record.facts["fixed_batch_size"]) == ("tflite", None)
    assert list(record.facts["refusals"]["pruning"]) == ["channel"]
    call = StageCall("float_tflite", {"batch_size": 4, "format": "tflite"}, {"model": record.objects["model"]})
    assert succeed(call, workplace).objects["tflite"] == f"{digest_of_path(path)}.tflite"


def test_a_saved_model_is_a_base_model(made: Made, keras_classifier: BaseModel, tmp_path: Path, rows: Rows) -> None:
    import tensorflow as tf

    model = load_keras(keras_classifier)
    tf.saved_model.save(model, str(tmp_path / "saved"))
    workplace = elsewhere(made, with_model(made, tmp_path / "saved"), tmp_path)
    record = succeed(BASE, workplace)
    assert (
        record.facts["format"] == "saved_model" and "SavedModel" in record.facts["refusals"]["pruning"]["unstructured"]
    )
    call = StageCall("float_tflite", {"batch_size": 1, "format": "saved_model"}, {"model": record.objects["model"]})
    content = workplace.store.path(succeed(call, workplace).objects["tflite"]).read_bytes()
    np.testing.assert_allclose(run_rows(content, rows[0]), np.asarray(model(rows[0])), atol=1e-5)


def test_a_quantized_tflite_is_no_start(
    made: Made, candidate_files: dict[tuple[Quantization, int], Path], tmp_path: Path
) -> None:
    task = with_model(made, candidate_files[Quantization.INT8, 1])
    done = fail(BASE, elsewhere(made, task, tmp_path), InputError)
    assert "must have float32 or float16 weights to start from" in str(done.error)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.tflite", "model.onnx", "saved_model"])
def test_a_file_that_is_no_model_is_the_users_to_mend(made: Made, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix:
        path.write_bytes(b"this is no model")
    else:
        path.mkdir()
    done = fail(BASE, elsewhere(made, with_model(made, path), tmp_path), InputError)
    assert name in str(done.error)


# ------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise RuntimeError('no such\\nlayer')", "RuntimeError: no such layer"),
        ("return np.zeros(3).reshape(2, 2)", "ValueError: cannot reshape array of size 3 into shape (2,2)"),
        ("open('/nothing/there')", "FileNotFoundError: [Errno 2] No such file or directory: '/nothing/there'"),
        ("sys.exit('done')", "SystemExit: done"),
    ],
)
def test_a_model_that_cannot_be_built_is_told_with_file_and_line(
    made: Made, tmp_path: Path, code: str, error: str
) -> None:
    (tmp_path / "theirs.py").write_text(f"import sys\nimport numpy as np\n\ndef model():\n    {code}\n")
    model = runpy.run_path(str(tmp_path / "theirs.py"))["model"]
    done = fail(BASE, elsewhere(made, with_model(made, model), tmp_path), InputError)
    assert str(done.error) == f"The task's `model` must build the model, but it raised {error} at theirs.py:5"
    assert "Traceback" in done.details


@pytest.mark.parametrize("built", [None, "model.keras", np.zeros(3)])
def test_a_function_that_gives_no_model_is_told(made: Made, tmp_path: Path, built: Any) -> None:
    done = fail(BASE, elsewhere(made, with_model(made, lambda: built), tmp_path), InputError)
    assert "must give a Keras model" in str(done.error) and type(built).__name__ in str(done.error)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_told(
    made: Made, tmp_path: Path, keras_classifier: BaseModel, value: float
) -> None:
    def spoilt() -> Any:
        model = load_keras(keras_classifier)
        bias = model.layers[-1].bias
        bias.assign(np.where(np.arange(CLASSES) < 2, value, bias.numpy()))
        return model

    done = fail(BASE, elsewhere(made, with_model(made, spoilt), tmp_path), InputError)
    assert str(done.error) == "The model's weights must be finite, but 2 of them are NaN or infinite."


def test_rows_that_the_model_does_not_take_are_told(made: Made, tmp_path: Path, rows: Rows) -> None:
    evaluation = Dataset(rows[0][:, :7], rows[1])
    task = with_model(made, made.workplace.task.model, evaluation=evaluation)
    done = fail(BASE, elsewhere(made, task, tmp_path), InputError)
    assert "the shape that the model takes, (8, 8, 1), but got (7, 8, 1)" in str(done.error)


def two_by_two() -> Any:
    import tf_keras

    image, number = tf_keras.layers.Input((8, 8, 1), name="image"), tf_keras.layers.Input((1,), name="n", dtype="int32")
    flat = tf_keras.layers.Flatten()(image)
    return tf_keras.Model(
        [image, number],
        [tf_keras.layers.Dense(3, name="classes")(flat), tf_keras.layers.Reshape((1,), name="same")(number)],
    )


def test_rows_that_do_not_fit_a_models_inputs_and_outputs_are_told_at_once(
    made: Made, tmp_path: Path, rows: Rows
) -> None:
    fitting = {"image": rows[0], "n": rows[1][:, None]}
    wrong = {"image": rows[0][:, :7], "n": rows[0][:, 0, 0]}
    task = with_model(made, two_by_two, evaluation=Dataset(wrong, rows[1]), training=None)
    done = fail(BASE, elsewhere(made, task, tmp_path), InputError)
    for words in ("(8, 8, 1), but got (7, 8, 1)", "inputs of n must be of the type int32, but", "`output` must name"):
        assert words in str(done.error)
    one_array = replace(task, evaluation=Dataset(rows[0], rows[1]), output="classes")
    done = fail(BASE, elsewhere(made, one_array, tmp_path), InputError)
    assert str(done.error) == "The evaluation inputs must be arrays by the names image, n, but they are one array."
    misnamed = replace(task, evaluation=Dataset({"picture": rows[0], "n": rows[1]}, rows[1]), output="class")
    done = fail(BASE, elsewhere(made, misnamed, tmp_path), InputError)
    assert "names of the model's inputs, image, n, but got n, picture" in str(done.error)
    assert "`output` must be one of the model's outputs, classes, same, but got class." in str(done.error)
    fits = replace(task, evaluation=Dataset(fitting, rows[1]), output="classes")
    record = succeed(BASE, elsewhere(made, fits, tmp_path))
    assert [spec["name"] for spec in record.facts["inputs"] + record.facts["outputs"]] == [
        "image",
        "n",
        "classes",
        "same",
    ]


def test_a_model_with_nothing_to_prune_says_so_and_is_taken(made: Made, tmp_path: Path) -> None:
    def flatten() -> Any:
        import tf_keras

        return tf_keras.Sequential([tf_keras.layers.Input((8, 8, 1)), tf_keras.layers.Flatten()])

    record = succeed(BASE, elsewhere(made, with_model(made, flatten), tmp_path))
    assert "no layer whose weights can be pruned" in record.facts["refusals"]["pruning"]["unstructured"]


def scored(made: Made, labels: np.ndarray, **changes: Any) -> tuple[StageCall, Workplace]:
    """The accuracy stage of the quantized file with other labels, or another metric."""
    store = made.workplace.store
    inputs = {"tflite": made.quantized.objects["tflite"], "rows": made.rows, "labels": keep_array(store, labels)}
    inputs |= made.float_answers()
    call = StageCall("accuracy", XNNPACK, inputs, depends_on={"changes": str(changes)})
    return call, replace(made.workplace, task=replace(made.workplace.task, **changes))


def test_labels_that_do_not_fit_the_metric_are_told(made: Made, rows: Rows) -> None:
    done = fail(*scored(made, rows[1], metric="binary"), InputError)
    assert "The metric binary must take outputs of shape (22, 3) and labels of shape (22,)" in str(done.error)


def test_a_metric_that_raises_is_told(made: Made, rows: Rows) -> None:
    def score(outputs: np.ndarray, labels: np.ndarray) -> float:
        raise LookupError("theirs")

    done = fail(*scored(made, rows[1], metric=score), InputError)
    assert "The metric score" in str(done.error) and "LookupError: theirs" in str(done.error)


def test_labels_outside_the_classes_cost_the_cell_that_was_to_be_pruned(made: Made, tmp_path: Path, rows: Rows) -> None:
    task = replace(made.workplace.task, training=Dataset(rows[0], rows[1] + CLASSES))
    call = StageCall(
        "pruned",
        {"sparsity": 0.5, "format": "keras"},
        {"model": made.base.objects["model"]},
        depends_on={"labels": "other"},
    )
    done = fail(call, replace(made.workplace, task=task), CandidateError)
    assert str(done.error).startswith("pruned: ")


def test_a_candidate_that_the_device_refuses_costs_its_cell(made: Made) -> None:
    inputs = {"tflite": made.labels, "rows": made.rows, "labels": made.labels}  # an array is no model
    done = fail(StageCall("accuracy", XNNPACK, inputs), made.workplace, CandidateError)
    assert "refused" in str(done.error)


def test_an_error_that_nobody_foresaw_costs_its_cell_with_the_reason(made: Made) -> None:
    call = StageCall("quantized", {"quantization": "int8"} | CALIBRATION, {"tflite": made.labels})
    done = fail(call, made.workplace, CandidateError)
    assert str(done.error).startswith("quantized: ")
    assert "Traceback" in done.details


def test_an_input_that_is_gone_costs_the_candidate_with_its_reason(made: Made) -> None:
    call = StageCall("quantized", {"quantization": "int8"} | CALIBRATION, {"tflite": "0" * 64})
    assert "No such file" in str(fail(call, made.workplace, CandidateError).error)


def test_a_store_that_cannot_be_written_says_so(made: Made, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    done = run_stage(BASE, replace(made.workplace, store=ArtifactStore(tmp_path / "file" / "store")))
    assert isinstance(done.error, StoreError) and "not a directory" in str(done.error)
