"""What happens on a node beside its stages."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from litefront.search import node_stage
from litefront.search.node_stage import PackedWorkplace, warm_up
from litefront.search.task import Dataset, Task
from litefront.search.user_modules import UserModules


def built() -> Any:
    raise AssertionError("a process is warmed up without building the model")


@pytest.mark.parametrize(("model", "imports"), [(built, 1), (Path("model.keras"), 1), (Path("model.tflite"), 0)])
def test_a_process_imports_what_the_tasks_builds_will_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path | Callable[[], Any], imports: int
) -> None:
    task = Task(model=model, evaluation=Dataset(np.zeros((2, 1), np.float32), np.zeros(2, np.int64)))
    packed = pickle.dumps((UserModules({}), cloudpickle.dumps(task)))
    imported: list[None] = []
    monkeypatch.setattr(node_stage, "import_keras", lambda: imported.append(None))
    warm_up(PackedWorkplace(str(tmp_path), "mark", packed, '{"kind": "host"}'))
    assert len(imported) == imports
