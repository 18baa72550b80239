"""Loads a study's task, from code or from files, and packs it for the workers."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from litefront.objectives.metrics import METRICS
from litefront.search.digests import digest_of_json, digest_of_path, digest_of_rows
from litefront.search.study_file import StudyFile
from litefront.search.study_spec import FilesTask
from litefront.search.task import Dataset, Task
from litefront.search.user_modules import UserModules
from litefront.spaces.base_model import SERVING_DEFAULT
from litefront.spaces.errors import InputError
from litefront.spaces.rows import Rows
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
        user_modules, module = UserModules({}), None
        code: list[str] = []
    else:
        path, attribute = _task_file(study.spec.task, study.folder)
        user_modules = UserModules.beside(path)
        module = _execute(path, user_modules)
        task = _task_of(module, attribute, path)
        code = [digest_of_path(path), user_modules.digest]
    if problems := list(task.problems()):
        raise InputError(problems)
    return _with_digests(task, code, _pack(task, user_modules, module))


def explain_user_error(error: BaseException) -> str:
    """An exception of the user's code in one line: what, and where in their file.

    Their file is the last one on the way that neither an installed package nor litefront brings.
    """
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if _is_users(frame.filename)]
    where = f" at {Path(theirs[-1].filename).name}:{theirs[-1].lineno}" if theirs else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:400]}{where}"


def _is_users(file_name: str) -> bool:
    path = Path(file_name)
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    packages = (Path(__file__).parent.parent / name for name in ("search", "objectives", "spaces"))
    ours = any(path.is_relative_to(package) for package in packages)
    return not (installed or ours or path.is_relative_to(sys.base_prefix) or path.name.startswith(("<", "__autograph")))


def _task_from_files(files: FilesTask, folder: Path) -> Task:
    data_path = folder / files.data
    try:
        with open(data_path, "rb") as file:
            stored = np.load(file, allow_pickle=False)
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise InputError(f"`task.data` must be a .npz file, but there is nothing at {data_path}.") from None
    except Exception as error:
        # Whatever the reader raises here comes from the bytes of the user's file.
        raise InputError(f"`task.data` must be a .npz file of plain arrays, but {data_path.name}: {error}") from error
    held = _held(arrays, data_path.name)
    if "evaluation_inputs" not in held:
        raise InputError(f"{data_path.name} must hold `evaluation_inputs`, but it has {sorted(arrays)}.")
    training = None
    if "training_inputs" in held:
        training = Dataset(held["training_inputs"], held.get("training_labels"))
    return Task(
        model=folder / files.model,
        evaluation=Dataset(held["evaluation_inputs"], held.get("evaluation_labels")),
        training=training,
        representative=held.get("representative_inputs"),
        output=files.output,
        signature=files.signature,
        loss=files.loss,
        metric=files.metric,
        fine_tuning=files.fine_tuning(),
    )


_HELD = ("evaluation_inputs", "evaluation_labels", "representative_inputs", "training_inputs", "training_labels")


def _held(arrays: Mapping[str, np.ndarray], file_name: str) -> dict[str, Rows]:
    """What a data file holds: an array, or several as `evaluation_inputs/NAME`, one for each name.

    Raises:
        InputError: If there is something else in it.
    """
    if unknown := sorted(name for name in arrays if name.partition("/")[0] not in _HELD):
        raise InputError(
            f"{file_name} may hold {', '.join(_HELD)} (each followed by /NAME where there are several), but it has "
            f"{', '.join(unknown)} too."
        )
    held: dict[str, Rows] = {}
    for what in _HELD:
        named = {name.partition("/")[2]: array for name, array in arrays.items() if name.partition("/")[0] == what}
        if "" in named and len(named) > 1:
            raise InputError(f"{file_name} must hold either {what} or {what}/NAME, but it has both.")
        if named:
            held[what] = named.get("", named)
    return held


def _task_file(reference: str, folder: Path) -> tuple[Path, str]:
    file_name, separator, attribute = reference.rpartition(":")
    if not separator:
        raise InputError(f"`task` must be `file.py:object`, or `model` and `data`, but got {reference!r}.")
    path = (folder / file_name).resolve()
    if not path.is_file():
        raise InputError(f"`task` must name a Python file, but there is nothing at {path}.")
    return path, attribute


def _execute(path: Path, user_modules: UserModules) -> ModuleType:
    """Runs a task file as a module; its folder is importable meanwhile, for what else it may import there."""
    name = f"litefront_task_{path.stem}_{digest_of_json(str(path))[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    user_modules.install()
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except InputError:
        # The study says itself what it needs.
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise InputError(f"The task {path.name} does not load: {explain_user_error(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _task_of(module: ModuleType, attribute: str, path: Path) -> Task:
    """The task that the file defines; relative paths in it are relative to its folder."""
    task = getattr(module, attribute, None)
    if not isinstance(task, Task):
        found = "nothing of that name" if task is None else f"a {type(task).__name__}"
        raise InputError(f"`task` must name a litefront.search.Task, but {attribute} in {path.name} is {found}.")
    model = path.parent / task.model if isinstance(task.model, str | Path) else task.model
    return replace(task, model=model, model_files=tuple(path.parent / file for file in task.model_files))


def _with_digests(task: Task, code: list[str], packed: bytes) -> LoadedTask:
    training = task.training or Dataset(np.empty(0))
    data = [digest_of_rows(training.inputs), digest_of_rows(training.labels)]
    try:
        files = [digest_of_path(Path(file)) for file in (*_model_paths(task), *task.model_files)]
    except OSError as error:
        problem = f"The task's model must be a file or folder, but {error.filename}: {error.strerror}."
        raise InputError(problem) from error
    # How a pruned model is pruned further is in the key of each stage that does so.
    settings = {name: value for name, value in vars(task.fine_tuning).items() if name != "continued_epochs"}
    metric = task.scored_by
    chosen = [] if task.output is None else [task.output]
    signature = [] if task.signature == SERVING_DEFAULT else [task.signature]
    return LoadedTask(
        task=task,
        model_digest=digest_of_json([code, files, data, *signature]),
        training_digest=digest_of_json([code, data, settings | {"loss": _name_of(task.loss)}]),
        representative_digest=digest_of_rows(training.inputs if task.representative is None else task.representative),
        metric_digest=digest_of_json([metric if metric in METRICS else [code, _name_of(metric)], *chosen]),
        packed=packed,
    )


def _name_of(function: str | Callable[..., Any]) -> str:
    """Its name; for an object that is called like a function, its class's."""
    return (
        function if isinstance(function, str) else str(getattr(function, "__qualname__", type(function).__qualname__))
    )


def _model_paths(task: Task) -> Iterator[Path]:
    if isinstance(task.model, str | Path):
        yield Path(task.model)


def _pack(task: Task, user_modules: UserModules, task_module: ModuleType | None) -> bytes:
    """Pickles the task with the code that it uses: no worker has, or needs, the user's files."""
    import cloudpickle

    if task_module is not None:
        cloudpickle.register_pickle_by_value(task_module)
    try:
        # Two pickles, for the second imports from the first.
        return bytes(pickle.dumps((user_modules, cloudpickle.dumps(task))))
    except Exception as error:
        raise InputError(f"The task must be picklable to reach the workers, but {explain_user_error(error)}") from error
    finally:
        if task_module is not None:
            cloudpickle.unregister_pickle_by_value(task_module)


def unpack_task(packed: bytes) -> Any:
    """Gives the task that `LoadedTask.packed` holds, and lets this process import the modules that it brings."""
    prepare_environment()
    user_modules, task = pickle.loads(packed)
    user_modules.install()
    return pickle.loads(task)
