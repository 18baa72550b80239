"""Looks are taken until they tell, and only where they can spare something."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from litefront.objectives.devices import DeviceFacts
from litefront.objectives.screening import PairedScores
from litefront.objectives.timing import Timing
from litefront.search.screening import WORTHWHILE_S, Screened, Screening, worthwhile_screening
from litefront.search.stage_calls import Look, StageCall, StageCalls
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.task import Dataset, Task
from litefront.search.task_loading import LoadedTask
from litefront.spaces.deployment_config import DeploymentConfig
from tests.search.records import FLOAT_ANSWERS

LOOKS = (Look("a", 0, 100), Look("b", 100, 200), Look("c", 200, 400))
MAX_DROP = 0.02
CONFIG = DeploymentConfig()
QUANTIZED = StageRecord("quantized", "q", {"tflite": "t"}, {}, 1.0)

# Rows of 100 that are wrong where the baseline is right. At the first of three looks the drop's interval is -0.02 to
# 0.02 for none of them, -0.01 to 0.11 for 5, and 0.37 to 0.61 for 50.
ALIKE, DOUBTFUL, HOPELESS = 0, 5, 50


def calls_with(looks: tuple[Look, ...]) -> StageCalls:
    task = Task(model="model.keras", evaluation=Dataset(np.zeros((1, 2))))
    loaded = LoadedTask(task, "model", "training", "representative", "metric", b"")
    device = DeviceFacts("host", "processor", "x86_64", 2, "ai-edge-litert 2.3.0")
    return StageCalls(
        loaded,
        device,
        evaluation_inputs="inputs",
        evaluation_labels="labels",
        sparsities=(),
        timing=Timing(),
        looks=looks,
    )


def screening(folder: Path, looks: tuple[Look, ...] = LOOKS) -> Screening:
    return Screening(calls_with(looks), ArtifactStore(folder), "scores", FLOAT_ANSWERS)


def drive(screened: Screening, *lost: int, max_drop: float = MAX_DROP) -> tuple[list[StageCall], Screened | None]:
    """The looks that were taken, and what came of them, when so many of 100 rows are lost in each."""
    asked: list[StageCall] = []
    plan = screened.run(QUANTIZED, CONFIG, max_drop)
    try:
        asked.append(next(plan))
        for rows in lost:
            scores = np.ones(100)
            scores[:rows] = 0.0
            facts = {
                "paired_scores": asdict(PairedScores.of(scores, np.ones(100))),
                "unit": "fraction",
                "source": f"top1 on {100 * len(asked)} of 1600 rows",
            }
            asked.append(plan.send(StageRecord("screening", asked[-1].key, {}, facts, 0.5)))
    except StopIteration as end:
        return asked, end.value
    pytest.fail("the screening asks for more looks than there are")


def test_a_hopeless_candidate_ends_at_the_first_look(tmp_path: Path) -> None:
    asked, found = drive(screening(tmp_path), HOPELESS)
    assert [call.params["last"] for call in asked] == [100]
    assert found is not None
    figure = found.accuracy()
    assert (figure.value, figure.unit, figure.source) == (0.5, "fraction", "top1 on 100 of 1600 rows")
    assert figure.interval is not None and figure.interval[0] < 0.5 < figure.interval[1]
    assert found.drop_interval[0] > MAX_DROP
    assert found.seconds == 0.5


def test_looks_add_up_until_they_tell(tmp_path: Path) -> None:
    asked, found = drive(screening(tmp_path), DOUBTFUL, HOPELESS)
    assert [(call.params["first"], call.params["last"]) for call in asked] == [(0, 100), (100, 200)]
    assert found is not None
    assert (found.seen.rows, found.seen.drop, found.seconds) == (200, 55 / 200, 1.0)
    assert found.last.key == asked[1].key


def test_a_candidate_that_is_clearly_above_the_gate_is_not_looked_at_again(tmp_path: Path) -> None:
    asked, found = drive(screening(tmp_path), DOUBTFUL, max_drop=0.2)
    assert (len(asked), found) == (1, None)


def test_what_every_look_leaves_open_is_for_all_rows_to_tell(tmp_path: Path) -> None:
    asked, found = drive(screening(tmp_path), DOUBTFUL, ALIKE, DOUBTFUL)
    assert (len(asked), found) == (3, None)


def test_what_is_known_of_all_rows_is_not_looked_at(tmp_path: Path) -> None:
    known = screening(tmp_path)
    call = known.calls.accuracy(QUANTIZED, CONFIG, FLOAT_ANSWERS)
    known.store.add(StageRecord("accuracy", call.key, {}, {}, 9.0))
    plan = known.run(QUANTIZED, CONFIG, MAX_DROP)
    with pytest.raises(StopIteration) as end:
        next(plan)
    assert end.value.value is None


def test_the_gate_is_in_no_key(tmp_path: Path) -> None:
    keys = {drive(screening(tmp_path), HOPELESS, max_drop=max_drop)[0][0].key for max_drop in (0.0, 0.02, 0.3)}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("looks", "scores", "seconds", "worthwhile"),
    [
        (LOOKS, True, WORTHWHILE_S, True),
        (LOOKS, True, WORTHWHILE_S - 0.01, False),
        (LOOKS, False, 60.0, False),  # the metric gives one number for all rows
        ((), True, 60.0, False),  # no gate, or too few rows
    ],
)
def test_screening_must_pay_and_have_something_to_compare(
    tmp_path: Path, looks: tuple[Look, ...], scores: bool, seconds: float, worthwhile: bool
) -> None:
    baseline = StageRecord("accuracy", "a", {"scores": "digest"} if scores else {}, {}, seconds)
    found = worthwhile_screening(calls_with(looks), ArtifactStore(tmp_path), baseline, FLOAT_ANSWERS)
    assert (found is not None) == worthwhile
    assert found is None or found.baseline_scores == "digest"
