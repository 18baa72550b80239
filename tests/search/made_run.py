"""A run directory made by hand around real files: figures that a reader can follow, models that really run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from litefront.objectives.devices import Candidate, HostDevice
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.digests import digest_of_bytes
from litefront.search.run_directory import RunDirectory
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.study_results import StudyResults
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.quantization import Quantization
from tests.search.records import CONTEXT, append_json_line, make_record, make_spec

TIERS = {
    "entry": {"device": "host", "limits": {"latency_ms": 3}, "samples_per_s": 10, "prefer": "size"},
    "flagship": {"device": "host", "prefer": "accuracy"},
    "nobody": {"device": "host", "limits": {"latency_ms": 0.001}},
}
FLOAT32 = DeploymentConfig()
INT8 = DeploymentConfig(quantization=Quantization.INT8)
BATCHED = DeploymentConfig(quantization=Quantization.DYNAMIC_INT8, batch_size=4)
FIGURES = {
    FLOAT32: {"accuracy": 0.9, "size_bytes": 4000, "latency_ms": 4.0},
    INT8: {"accuracy": 0.8, "size_bytes": 1000, "latency_ms": 1.0},
    BATCHED: {"accuracy": 0.85, "size_bytes": 2000, "latency_ms": 2.0},
}


def make_run(folder: Path, files: Mapping[tuple[Quantization, int], Path]) -> StudyResults:
    """A run of three measured cells, a rejected and a failed one; the models are copies of `files`.

    By hand: the front holds all three; `entry` picks int8 (size 1000 under 3 ms) before the batched one (size 2000),
    `flagship` the float model, and `nobody` none.
    """
    directory = RunDirectory(folder)
    directory.create()
    spec = make_spec(
        tiers=TIERS, seed=3, space={"quantization": ["float32", "dynamic_int8", "int8"], "batch_size": [1, 4]}
    )
    content = {"spec": spec.model_dump(mode="json"), "context": dataclasses.asdict(CONTEXT)}
    directory.study.write_text(json.dumps(content))
    store = ArtifactStore(directory.store)
    for config, figures in FIGURES.items():
        keep(directory, measured(store, config, figures, files[config.quantization, config.batch_size]))
    keep(directory, make_record("rejected", config=DeploymentConfig(batch_size=4), state=CellState.REJECTED))
    other = DeploymentConfig(quantization=Quantization.INT8, batch_size=4)
    keep(directory, make_record("failed", config=other, state=CellState.FAILED))
    for event in ("run", "hit"):
        append_json_line(directory.stages, {"stage": "base", "key": "b", "event": event, "seconds": 2.0})
    return StudyResults.read(directory)


def keep(directory: RunDirectory, record: CellRecord) -> None:
    append_json_line(directory.cells, {"context": CONTEXT.digest, "record": record.to_json()})


def measured(store: ArtifactStore, config: DeploymentConfig, figures: Mapping[str, float], model: Path) -> CellRecord:
    """A measured cell whose model lies in the store, with the nodes that are delegated on this very machine."""
    key = digest_of_bytes(config.label().encode())
    with store.scratch() as scratch:
        copy = scratch / "model.tflite"
        copy.write_bytes(model.read_bytes())
        np.save(scratch / "rows.npy", np.zeros((config.batch_size, 8, 8, 1), np.float32))
        reply = HostDevice().infer(Candidate(copy, config), scratch / "rows.npy", scratch / "outputs.npy")
        digest = store.add_object(copy)
    store.add(StageRecord("quantized", key, {"tflite": digest}, {}, 1.0))
    facts = {
        "busy_cores": 1.0,
        "last_level_cache_bytes": 10**9,
        "delegated_nodes": reply["delegated_nodes"],
        "nodes": reply["nodes"],
        "sha256": digest.partition(".")[0],
    }
    record = make_record(key[:16], config=config, facts=facts, **figures)
    return dataclasses.replace(record, stages={"quantized": key}, finished_at="2025-01-01T01:00:00+00:00")
