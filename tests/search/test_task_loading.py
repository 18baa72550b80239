"""Tasks from code and from files: what loads, what is said of the rest, and what reaches a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.search.study_file import StudyFile
from litefront.search.study_spec import StudySpec
from litefront.search.task_loading import LoadedTask, load_task, unpack_task
from litefront.spaces.errors import InputError
from litefront.spaces.training.fine_tuning import FineTuning

TASK = """
import numpy as np
from litefront.search import Dataset, FineTuning, Task

{imports}

def model():
    {body}

INPUTS = np.arange(12, dtype=np.float32).reshape(6, 2)
LABELS = np.arange(6) % 3
task = Task(model=model, evaluation=Dataset(INPUTS, LABELS), training=Dataset(INPUTS, LABELS){arguments})
"""


def task_text(*, imports: str = "", body: str = "return 'built'", arguments: str = "") -> str:
    return TASK.format(imports=imports, body=textwrap.indent(body, "    ").strip(), arguments=arguments)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def load(folder: Path, task: Any = "task.py:task") -> LoadedTask:
    spec = StudySpec.model_validate({"study": "s", "task": task, "space": {}})
    return load_task(StudyFile(spec, folder / "study.yaml"))


def problems_of(folder: Path, task: Any = "task.py:task") -> str:
    with pytest.raises(InputError) as caught:
        load(folder, task)
    return "\n".join(caught.value.problems)


def built_in_a_fresh_process(loaded: LoadedTask, folder: Path, expression: str = "task.model()") -> str:
    """What `expression` gives in a process whose path and working directory know nothing of the task's folder."""
    folder.mkdir()
    (folder / "packed").write_bytes(loaded.packed)
    code = (
        "from litefront.search.task_loading import unpack_task\n"
        f"task = unpack_task(open('packed', 'rb').read())\nprint({expression})"
    )
    result = subprocess.run([sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# ------------------------------------------------------------------------------------------------ from code


def test_a_task_is_loaded_from_its_file(tmp_path: Path) -> None:
    write(tmp_path, {"task.py": task_text()})
    task = load(tmp_path).task
    assert callable(task.model) and task.model() == "built"
    assert task.evaluation.inputs.shape == (6, 2)


def test_a_task_of_any_file_and_name_is_loaded(tmp_path: Path) -> None:
    write(tmp_path, {"tasks/second.py": task_text() + "\nother = task"})
    assert load(tmp_path, "tasks/second.py:other").task.evaluation.inputs.shape == (6, 2)


def test_loading_leaves_pythons_path_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, {"task.py": task_text()})
    before = list(sys.path)
    load(tmp_path)
    assert sys.path == before


def test_a_packed_task_works_where_its_folder_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    files = {
        "task.py": task_text(
            imports="import at_top\nfrom at_top_too import double\nfrom package.inner import triple",
            body="import inside\n"
            "from package import lazily\n"
            "return at_top.add(double(1), triple(1)), inside.VALUE, lazily.VALUE",
        ),
        "at_top.py": "OFFSET = 100\ndef add(a, b):\n    return a + b + OFFSET",
        "at_top_too.py": "def double(x):\n    return 2 * x",
        "inside.py": "import deeper\nVALUE = deeper.VALUE",
        "deeper.py": "VALUE = 7",
        "package/__init__.py": "",
        "package/inner.py": "def triple(x):\n    return 3 * x",
        "package/lazily.py": "VALUE = 8",
    }
    write(folder, files)
    loaded = load(folder)
    for name in files:
        (folder / name).unlink()
    assert built_in_a_fresh_process(loaded, tmp_path / "elsewhere") == "(105, 7, 8)"


def test_the_modules_of_a_packed_task_are_there_once(tmp_path: Path) -> None:
    body = "import counting\ncounting.increase()\nreturn at_top.count(), counting.COUNT"
    files = {
        "task.py": task_text(imports="import counting_at_top as at_top", body=body),
        "counting_at_top.py": "import counting\ndef count():\n    return counting.COUNT",
        "counting.py": "COUNT = 0\ndef increase():\n    global COUNT\n    COUNT += 1",
    }
    write(tmp_path / "task", files)
    assert built_in_a_fresh_process(load(tmp_path / "task"), tmp_path / "elsewhere") == "(1, 1)"


def test_a_packed_task_brings_its_data_and_settings(tmp_path: Path) -> None:
    write(tmp_path / "task", {"task.py": task_text(arguments=", fine_tuning=FineTuning(epochs=7), metric='macro_f1'")})
    expression = "task.evaluation.inputs.sum(), len(task.training.labels), task.fine_tuning.epochs, task.metric"
    seen = built_in_a_fresh_process(load(tmp_path / "task"), tmp_path / "elsewhere", expression)
    assert seen == "66.0 6 7 macro_f1"  # 0 + 1 + ... + 11


def test_a_packed_task_brings_metric_loss_and_layers_of_its_own(tmp_path: Path) -> None:
    code = """
import scoring

def loss(expected, given):
    return 1.5

class Layer:
    name = "mine"
"""
    arguments = ", metric=scoring.score, loss=loss, custom_objects={'Layer': Layer}"
    files = {
        "task.py": task_text(imports=code, arguments=arguments),
        "scoring.py": "def score(outputs, labels): return 0.25",
    }
    write(tmp_path / "task", files)
    expression = "task.metric(None, None), task.loss(None, None), task.custom_objects['Layer'].name"
    seen = built_in_a_fresh_process(load(tmp_path / "task"), tmp_path / "elsewhere", expression)
    assert seen == "0.25 1.5 mine"


def test_a_module_imported_inside_a_function_is_not_imported_before_it_is_needed(tmp_path: Path) -> None:
    write(
        tmp_path, {"task.py": task_text(body="import costly\nreturn costly.VALUE"), "costly.py": "raise RuntimeError"}
    )
    model = load(tmp_path).task.model
    assert callable(model)
    with pytest.raises(RuntimeError):
        model()


def test_folders_of_our_own_names_are_the_users(tmp_path: Path) -> None:
    names = ("spaces", "objectives", "search", "studies")
    files = {f"{name}/__init__.py": f"raise RuntimeError('imported {name}')" for name in ("litefront", *names[:2])}
    files |= {f"{name}/__init__.py": f"NAME = 'their {name}'" for name in names[2:]}
    files["task.py"] = task_text(imports="import search", body="import studies\nreturn search.NAME, studies.NAME")
    write(tmp_path / "task", files)
    loaded = load(tmp_path / "task")
    assert callable(loaded.task.model) and loaded.task.model() == ("their search", "their studies")
    assert built_in_a_fresh_process(loaded, tmp_path / "elsewhere") == "('their search', 'their studies')"


def test_folders_of_our_own_names_do_not_disturb_where_litefront_is_started_in_them(tmp_path: Path) -> None:
    for name in ("spaces", "objectives", "search", "studies"):
        write(tmp_path, {f"{name}/__init__.py": "raise RuntimeError('the wrong one')"})
    write(tmp_path, {"task.py": task_text(), "study.yaml": "study: s\ntask: task.py:task\nspace: {}\n"})
    code = (
        "from litefront.search.study_file import read_study_file\nfrom litefront.search.task_loading import load_task\n"
        "print(load_task(read_study_file('study.yaml')).task.model())"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("built", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\nraise RuntimeError('theirs')", "RuntimeError: theirs at task.py:2"),
        ("import sys\nsys.exit('done')", "SystemExit: done at task.py:2"),
        ("\n\ndef f(:", "SyntaxError: .* line 3"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name' at task.py:1"),
        ("import numpy\nnumpy.zeros('x')", "TypeError: .* at task.py:2"),
        ("\xff", "SyntaxError|invalid"),
    ],
)
def test_a_task_that_does_not_load_is_told_with_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "task.py").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=f"The task task.py does not load: .*{told}"):
        load(tmp_path)


def test_an_error_in_a_file_beside_the_task_names_that_file(tmp_path: Path) -> None:
    write(tmp_path, {"task.py": "import faulty", "faulty.py": "\n\n1 / 0"})
    assert "ZeroDivisionError: division by zero at faulty.py:3" in problems_of(tmp_path)


def test_a_task_mended_after_an_error_loads(tmp_path: Path) -> None:
    write(tmp_path, {"task.py": "import mended", "mended.py": "1 / 0"})
    problems_of(tmp_path)
    write(
        tmp_path, {"task.py": task_text(imports="import mended", body="return mended.VALUE"), "mended.py": "VALUE = 1"}
    )
    model = load(tmp_path).task.model
    assert callable(model) and model() == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "task in task.py is nothing of that name"),
        ("task = 3", "task in task.py is a int"),
        ("from litefront.search import Task\ntask = Task", "task in task.py is a type"),
    ],
)
def test_what_is_no_task_is_told(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, {"task.py": text})
    assert f"`task` must name a litefront.search.Task, but {told}." in problems_of(tmp_path)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("task.py", "must be `file.py:object`, or `model` and `data`, but got 'task.py'"),
        ("missing.py:task", "must name a Python file, but there is nothing at"),
        (".:task", "must name a Python file, but there is nothing at"),
    ],
)
def test_a_reference_to_no_file_is_told(tmp_path: Path, reference: str, told: str) -> None:
    assert told in problems_of(tmp_path, reference)


def test_a_task_that_cannot_be_packed_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"task.py": task_text(imports="import threading\nLOCK = threading.Lock()", body="return LOCK")})
    assert "The task must be picklable to reach the workers, but TypeError" in problems_of(tmp_path)


def test_all_problems_of_the_data_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"task.py": task_text(arguments=", representative=INPUTS[:0], metric='top2'")})
    told = problems_of(tmp_path)
    assert "representative inputs must have at least one row" in told and "'top2'" in told


def test_relative_files_of_a_task_are_relative_to_its_own_folder(tmp_path: Path) -> None:
    text = task_text().replace("model=model", "model='float.tflite', model_files=('vocabulary.txt',)")
    write(tmp_path, {"sub/task.py": text, "sub/float.tflite": "model", "sub/vocabulary.txt": "a"})
    task = load(tmp_path, "sub/task.py:task").task
    assert (task.model, task.model_files) == (tmp_path / "sub/float.tflite", (tmp_path / "sub/vocabulary.txt",))


@pytest.mark.parametrize("missing", ["model='missing.tflite'", "model=model, model_files=('missing.txt',)"])
def test_a_model_file_that_is_missing_is_told(tmp_path: Path, missing: str) -> None:
    write(tmp_path, {"task.py": task_text().replace("model=model", missing)})
    assert "missing." in problems_of(tmp_path)


# --------------------------------------------------------------------------------------------------- digests

SOURCES = {
    "task.py": task_text(imports="import digested", arguments=", model_files=('weights.bin',)"),
    "digested.py": "VALUE = 1",
    "weights.bin": "weights",
    "unrelated.py": "",
}
DIGESTS = ("model_digest", "training_digest", "representative_digest", "metric_digest")


def digests(folder: Path, task: Any = "task.py:task") -> dict[str, str]:
    loaded = load(folder, task)
    return {name.removesuffix("_digest"): getattr(loaded, name) for name in DIGESTS}


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("unrelated.py", "", "x = 1", set()),
        ("weights.bin", "weights", "other", {"model"}),
        # Code may do anything with anything, so its change counts for whatever it could reach.
        ("digested.py", "1", "2", {"model", "training"}),
        ("task.py", "'built'", "'otherwise'", {"model", "training"}),
        ("task.py", "model_files=", "metric='top5', model_files=", {"model", "training", "metric"}),
        ("task.py", "np.arange(12,", "1 + np.arange(12,", {"model", "training", "representative"}),
    ],
)
def test_a_change_of_a_file_changes_what_depends_on_it(
    tmp_path: Path, file: str, old: str, new: str, expected: set[str]
) -> None:
    write(tmp_path, SOURCES)
    before = digests(tmp_path)
    write(tmp_path, {file: SOURCES[file].replace(old, new)})
    after = digests(tmp_path)
    assert {name for name in before if before[name] != after[name]} == expected


def test_the_same_task_in_another_folder_has_the_same_digests(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, SOURCES)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_metric_of_the_users_own_counts_with_its_code(tmp_path: Path) -> None:
    text = task_text(imports="def score(outputs, labels):\n    return 0.5", arguments=", metric=score")
    write(tmp_path / "one", {"task.py": text})
    write(tmp_path / "two", {"task.py": text.replace("0.5", "0.25")})
    assert digests(tmp_path / "one")["metric"] != digests(tmp_path / "two")["metric"]


def test_a_metric_by_import_path_counts_with_its_code(tmp_path: Path) -> None:
    text = task_text(imports="import pathscoring", arguments=", metric='pathscoring:score'")
    seen = set()
    for name, score in (("one", 0.5), ("two", 0.25)):
        files = {"task.py": text, "pathscoring.py": f"def score(outputs, labels): return {score}"}
        write(tmp_path / name, files)
        seen.add(digests(tmp_path / name)["metric"])
    assert len(seen) == 2


def test_a_metric_that_is_an_object_is_taken(tmp_path: Path) -> None:
    code = "import functools\ndef score(outputs, labels, scale):\n    return scale"
    write(tmp_path, {"task.py": task_text(imports=code, arguments=", metric=functools.partial(score, scale=0.5)")})
    metric = load(tmp_path).task.metric
    assert callable(metric) and metric(None, None) == 0.5


# ------------------------------------------------------------------------------------------------ from files

ARRAYS: dict[str, Any] = {
    "evaluation_inputs": np.zeros((4, 2), np.float32),
    "evaluation_labels": np.arange(4),
    "training_inputs": np.ones((6, 2), np.float32),
    "training_labels": np.arange(6),
    "representative_inputs": np.full((3, 2), 2, np.float32),
}
FILES = {"model": "float.tflite", "data": "data/rows.npz"}


def files_task(folder: Path, arrays: dict[str, Any] = ARRAYS, **keys: Any) -> dict[str, Any]:
    (folder / "data").mkdir(exist_ok=True)
    (folder / "float.tflite").write_bytes(b"model")
    np.savez(folder / "data" / "rows.npz", **arrays)
    return FILES | keys


def test_files_make_a_task(tmp_path: Path) -> None:
    tuning_keys: dict[str, Any] = {"epochs": 3, "batch_size": 8, "learning_rate": 0.5, "continued_epochs": 2}
    keys = files_task(tmp_path, metric="top5", loss="mse", **tuning_keys)
    task = load(tmp_path, keys).task
    assert task.training is not None and task.representative is not None
    np.testing.assert_array_equal(task.evaluation.inputs, ARRAYS["evaluation_inputs"])
    np.testing.assert_array_equal(task.training.labels, ARRAYS["training_labels"])
    np.testing.assert_array_equal(task.representative, ARRAYS["representative_inputs"])
    assert (task.model, task.metric, task.loss) == (tmp_path / "float.tflite", "top5", "mse")
    assert task.fine_tuning == FineTuning(**tuning_keys)


def test_evaluation_inputs_are_enough(tmp_path: Path) -> None:
    task = load(tmp_path, files_task(tmp_path, {"evaluation_inputs": ARRAYS["evaluation_inputs"]})).task
    assert (task.training, task.representative, task.scored_by) == (None, None, "argmax_agreement")


def test_paths_are_relative_to_the_study_file_not_to_where_litefront_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study").mkdir()
    keys = files_task(tmp_path / "study")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(tmp_path / "study", keys).task.evaluation.inputs.shape == (4, 2)


def test_a_packed_files_task_comes_out_again(tmp_path: Path) -> None:
    loaded = load(tmp_path, files_task(tmp_path))
    task = unpack_task(loaded.packed)
    assert task.model == loaded.task.model
    np.testing.assert_array_equal(task.evaluation.inputs, ARRAYS["evaluation_inputs"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"evaluation_inputs": np.full((4, 2), 9, np.float32)}, set()),  # its own digest goes into keys by the store
        ({"training_labels": np.arange(6)[::-1]}, {"model", "training"}),
        ({"representative_inputs": np.full((3, 2), 9, np.float32)}, {"representative"}),
    ],
)
def test_a_change_of_the_data_changes_what_depends_on_it(
    tmp_path: Path, change: dict[str, Any], expected: set[str]
) -> None:
    before = digests(tmp_path, files_task(tmp_path))
    after = digests(tmp_path, files_task(tmp_path, ARRAYS | change))
    assert {name for name in before if before[name] != after[name]} == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"epochs": 3}, {"training"}),
        ({"learning_rate": 0.5}, {"training"}),
        ({"continued_epochs": 1}, set()),  # in the keys of the stages that continue
        ({"loss": "mse"}, {"training"}),
        ({"metric": "top5"}, {"metric"}),
        ({"metric": "top1"}, set()),  # what it was by default
    ],
)
def test_a_change_of_a_setting_changes_what_depends_on_it(
    tmp_path: Path, keys: dict[str, Any], expected: set[str]
) -> None:
    before = digests(tmp_path, files_task(tmp_path))
    after = digests(tmp_path, files_task(tmp_path, **keys))
    assert {name for name in before if before[name] != after[name]} == expected


def test_a_change_of_the_model_file_changes_the_models_digest(tmp_path: Path) -> None:
    keys = files_task(tmp_path)
    before = digests(tmp_path, keys)
    (tmp_path / "float.tflite").write_bytes(b"other")
    after = digests(tmp_path, keys)
    assert {name for name in before if before[name] != after[name]} == {"model"}


def write_pickled(path: Path) -> None:
    np.savez(path, evaluation_inputs=np.array([{"a": 1}], dtype=object))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (Path.unlink, "`task.data` must be a .npz file, but there is nothing at .*rows.npz"),
        (lambda path: path.write_bytes(b""), "must be a .npz file of plain arrays, but rows.npz"),
        (lambda path: path.write_text("a,b\n1,2\n"), "must be a .npz file of plain arrays, but rows.npz"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "must be a .npz file of plain arrays, but rows.npz"),
        (lambda path: path.write_bytes(b"PK\x03\x04"), "must be a .npz file of plain arrays, but rows.npz"),
        (lambda path: np.save(path.open("wb"), np.zeros(3)), "must be a .npz file of plain arrays, but rows.npz"),
        (write_pickled, "must be a .npz file of plain arrays, but rows.npz"),
        (lambda path: (path.unlink(), path.mkdir()), "must be a .npz file of plain arrays, but rows.npz"),
    ],
)
def test_data_that_cannot_be_read_is_told(tmp_path: Path, spoil: Any, told: str) -> None:
    keys = files_task(tmp_path)
    spoil(tmp_path / "data" / "rows.npz")
    with pytest.raises(InputError, match=told):
        load(tmp_path, keys)


def test_an_array_with_a_flipped_byte_is_told(tmp_path: Path) -> None:
    keys = files_task(tmp_path)
    path = tmp_path / "data" / "rows.npz"
    content = bytearray(path.read_bytes())
    content[content.index(ARRAYS["training_inputs"].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="must be a .npz file of plain arrays, but rows.npz"):
        load(tmp_path, keys)


def test_unknown_arrays_are_told_with_the_known_names(tmp_path: Path) -> None:
    told = problems_of(tmp_path, files_task(tmp_path, ARRAYS | {"test_inputs": np.zeros(3)}))
    assert "evaluation_inputs" in told and "but it has test_inputs too" in told


def test_evaluation_inputs_must_be_there(tmp_path: Path) -> None:
    told = problems_of(tmp_path, files_task(tmp_path, {"training_inputs": ARRAYS["training_inputs"]}))
    assert "rows.npz must hold `evaluation_inputs`, but it has ['training_inputs']" in told


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    told = problems_of(tmp_path, files_task(tmp_path, model="missing.keras"))
    assert "missing.keras" in told and os.strerror(2) in told


NAMED_ARRAYS: dict[str, Any] = {
    "evaluation_inputs/a": np.zeros((4, 2), np.float32),
    "evaluation_inputs/b": np.arange(4),
    "evaluation_labels/y": np.arange(4),
}


def test_arrays_by_name_make_rows_of_several_inputs(tmp_path: Path) -> None:
    task = load(tmp_path, files_task(tmp_path, NAMED_ARRAYS, output="y", signature="other")).task
    assert isinstance(task.evaluation.inputs, dict) and isinstance(task.evaluation.labels, dict)
    assert (set(task.evaluation.inputs), set(task.evaluation.labels)) == ({"a", "b"}, {"y"})
    assert (task.output, task.signature, task.representative) == ("y", "other", None)


def test_an_array_and_arrays_by_name_are_not_both_taken(tmp_path: Path) -> None:
    told = problems_of(tmp_path, files_task(tmp_path, NAMED_ARRAYS | {"evaluation_inputs": np.zeros((4, 2))}))
    assert "rows.npz must hold either evaluation_inputs or evaluation_inputs/NAME, but it has both" in told


def test_output_and_signature_change_what_depends_on_them(tmp_path: Path) -> None:
    before = digests(tmp_path, files_task(tmp_path, NAMED_ARRAYS))
    for keys, expected in (({"output": "y"}, {"metric"}), ({"signature": "other"}, {"model"})):
        after = digests(tmp_path, files_task(tmp_path, NAMED_ARRAYS, **keys))
        assert {name for name in before if before[name] != after[name]} == expected
