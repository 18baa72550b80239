"""A cell's record on its way through JSON."""

from __future__ import annotations

import json

import pytest

from litefront.objectives.measurement import Measurement, Provenance
from litefront.search.cell_record import CellRecord, CellState
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import Sparsity
from tests.search.records import make_record

FULL = CellRecord(
    cell="c0ffee",
    config=DeploymentConfig(
        Sparsity(0.75), quantization=Quantization.INT8, delegate=Delegate.NONE, num_threads=2, batch_size=4
    ),
    state=CellState.REJECTED,
    device="host",
    figures={
        "accuracy": Measurement(0.91, "fraction", Provenance.MEASURED, "top1 on 100 rows", (0.84, 0.95)),
        "power_mw": Measurement(12.5, "mW", Provenance.MODELLED, "x86-host-1", (6.0, 25.0), 0.9),
    },
    facts={"sha256": "ab", "delegated_nodes": 3},
    reason="accuracy 0.91 is below 0.93",
    noisy="other work ran beside the measurement",
    violation=0.02,
    stages={"quantized": "key-1"},
    finished_at="2025-01-01T00:00:00+00:00",
)


@pytest.mark.parametrize("record", [FULL, make_record(), make_record(state=CellState.FAILED)])
def test_record_survives_json(record: CellRecord) -> None:
    assert CellRecord.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))) == record


def test_record_is_written_in_the_words_of_the_study_file() -> None:
    written = FULL.to_json()
    assert written["state"] == "rejected"
    assert written["config"] == BASELINE.params() | {
        "sparsity": 0.75,
        "quantization": "int8",
        "delegate": "none",
        "num_threads": 2,
        "batch_size": 4,
    }


def test_value_gives_a_figure_by_its_name() -> None:
    assert FULL.value("accuracy") == 0.91


def test_value_of_a_figure_that_is_missing_names_it() -> None:
    with pytest.raises(KeyError, match="latency_ms"):
        FULL.value("latency_ms")
