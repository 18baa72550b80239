"""Loads a study's task, from code or from files, and packs it for the workers."""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from litefront.search.digests import digest_of_array, digest_of_json, digest_of_path
from litefront.search.study_file import StudyFile
from litefront.search.study_spec import FilesTask
from litefront.search.task import Dataset, Task
from litefront.spaces.errors import InputError
from litefront.spaces.sparsity import FineTuning
from litefront.spaces.tensorflow_environment import prepare_environment

__all__ = ["LoadedTask", "explain_user_error", "load_task", "unpack_task"]


@dataclass(frozen=True)
class LoadedTask:
    """A task with the digests that go into keys.

    Attributes:
        task: The task.
        model_digest: Of the code and files that make the base model, and of the training data.
        training_digest: Of the training data and the fine-tuning settings.
        representative_digest: Of the calibration rows.
        metric_digest: Of what scores.
        packed: The task as bytes, with the user's own modules inside, for a process that has never seen them.
    """

    task: Task
    model_digest: str
    training_digest: str
    representative_digest: str
    metric_digest: str
    packed: bytes


def load_task(study: StudyFile) -> LoadedTask:
    """Loads the task that a study names.

    Raises:
        InputError: If it does not load, or its data cannot be used; all problems of the data at once.
    """
    # A task may import TensorFlow at its top; its Keras must be the one that can be pruned.
    prepare_environment()
    if isinstance(study.spec.task, FilesTask):
        task = _task_from_files(study.spec.task, study.folder)
        modules: list[ModuleType] = []
    else:
        task, modules = _task_from_code(study.spec.task, study.folder)
    if problems := list(task.problems()):
        raise InputError(problems)
    return _with_digests(task, modules)


def explain_user_error(error: BaseException, folder: Path | None = None) -> str:
    """An exception of the user's code in one line: what, and where in their file."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if folder is None or Path(frame.filename).is_relative_to(folder)]
    where = f" at {Path(theirs[-1].filename).name}:{theirs[-1].lineno}" if theirs else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}{where}"


def _task_from_files(files: FilesTask, folder: Path) -> Task:
    data_path = folder / files.data
    try:
        with np.load(data_path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise InputError(f"`task.data` must be a .npz file, but there is nothing at {data_path}.") from None
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"`task.data` must be a .npz file of plain arrays, but {data_path.name}: {error}") from error
    known = {"training_inputs", "training_labels", "evaluation_inputs", "evaluation_labels", "representative_inputs"}
    if unknown := sorted(arrays.keys() - known):
        raise InputError(f"{data_path.name} may hold {', '.join(sorted(known))}, but it has {', '.join(unknown)} too.")
    if "evaluation_inputs" not in arrays:
        raise InputError(f"{data_path.name} must hold `evaluation_inputs`, but it has {sorted(arrays)}.")
    training = None
    if "training_inputs" in arrays:
        training = Dataset(arrays["training_inputs"], arrays.get("training_labels"))
    return Task(
        model=folder / files.model,
        evaluation=Dataset(arrays["evaluation_inputs"], arrays.get("evaluation_labels")),
        training=training,
        representative=arrays.get("representative_inputs"),
        loss=files.loss,
        metric=files.metric,
        fine_tuning=FineTuning(files.epochs, files.batch_size, files.learning_rate),
    )


def _task_from_code(reference: str, folder: Path) -> tuple[Task, list[ModuleType]]:
    file_name, separator, attribute = reference.rpartition(":")
    if not separator:
        raise InputError(f"`task` must be `file.py:object`, or `model` and `data`, but got {reference!r}.")
    path = (folder / file_name).resolve()
    if not path.is_file():
        raise InputError(f"`task` must name a Python file, but there is nothing at {path}.")
    module = _execute(path)
    task = getattr(module, attribute, None)
    if not isinstance(task, Task):
        found = "nothing of that name" if task is None else f"a {type(task).__name__}"
        raise InputError(f"`task: {reference}` must name a litefront.search.Task, but {path.name} has {found}.")
    if isinstance(task.model, str | Path) and not Path(task.model).is_absolute():
        object.__setattr__(task, "model", path.parent / task.model)
    siblings = [_module_of(sibling) for sibling in _sources(path) if sibling != path]
    return task, [module, *(sibling for sibling in siblings if sibling is not None)]


def _execute(path: Path) -> ModuleType:
    """Runs a task file as a module; its folder is importable meanwhile, for the files beside it."""
    name = f"litefront_task_{path.stem}_{digest_of_json(str(path))[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__litefront_sources__"] = [str(source) for source in _sources(path)]
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
        for sibling in _sources(path):
            # Imported now, also where the task imports it later inside a function, so that it travels along.
            if sibling != path:
                importlib.import_module(sibling.stem)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"The task {path.name} does not load: {explain_user_error(error, path.parent)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _sources(path: Path, seen: frozenset[Path] = frozenset()) -> list[Path]:
    """The task's file and the files beside it that it imports, at whatever depth."""
    found = [path]
    for name in _imported_names(path):
        sibling = path.parent / f"{name}.py"
        if sibling.is_file() and sibling not in seen and sibling != path:
            found += [source for source in _sources(sibling, seen | {path, *found}) if source not in found]
    return found


def _imported_names(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return  # running the file says so, with the line
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _module_of(path: Path) -> ModuleType | None:
    loaded = list(sys.modules.values())
    return next((module for module in loaded if getattr(module, "__file__", None) == str(path)), None)


def _with_digests(task: Task, modules: Sequence[ModuleType]) -> LoadedTask:
    sources = [Path(source) for module in modules[:1] for source in module.__dict__["__litefront_sources__"]]
    code = [digest_of_path(source) for source in sources]
    training = task.training or Dataset(np.empty(0))
    data = [digest_of_array(training.inputs), digest_of_array(training.labels)]
    try:
        files = [digest_of_path(Path(file)) for file in (*_model_paths(task), *task.model_files)]
    except OSError as error:
        problem = f"The task's model must be a file or folder, but {error.filename}: {error.strerror}."
        raise InputError(problem) from error
    settings = vars(task.fine_tuning) | {"loss": str(getattr(task.loss, "__name__", task.loss))}
    metric = task.scored_by
    return LoadedTask(
        task=task,
        model_digest=digest_of_json([code, files, data]),
        training_digest=digest_of_json([code, data, settings]),
        representative_digest=digest_of_array(task.calibration_rows()),
        metric_digest=digest_of_json(metric if isinstance(metric, str) else [code, metric.__qualname__]),
        packed=_pack(task, modules),
    )


def _model_paths(task: Task) -> Iterator[Path]:
    if isinstance(task.model, str | Path):
        yield Path(task.model)


def _pack(task: Task, modules: Sequence[ModuleType]) -> bytes:
    """Pickles the task with the user's modules by value: no worker has, or needs, their files."""
    import cloudpickle

    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(task))
    except Exception as error:
        raise InputError(f"The task must be picklable to reach the workers, but {explain_user_error(error)}") from error
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def unpack_task(packed: bytes) -> Any:
    """Gives the task that `LoadedTask.packed` holds."""
    import pickle

    prepare_environment()
    return pickle.loads(packed)
