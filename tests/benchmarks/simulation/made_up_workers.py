"""Workers that answer at once with made-up but plausible records: what is left is what the search itself costs.

Each object in the store says in JSON what made it, so that a stage's figures depend on the whole configuration. The
time that the answers themselves take is counted apart.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from litefront.objectives.accuracy import wilson_interval
from litefront.objectives.devices import DeviceFacts
from litefront.objectives.measurement import Measurement, Provenance
from litefront.search.digests import digest_of_json
from litefront.search.stage_calls import StageCall
from litefront.search.stage_run import StageDone
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.workers import Place
from litefront.spaces.model_refusals import ModelRefusals

__all__ = ["MADE_UP_FACTS", "MadeUpWorkers"]

MADE_UP_FACTS = DeviceFacts("host", "made up", "none", 2, "none")

_BITS = {
    "float32": 32,
    "float16": 16,
    "dynamic_int8": 8,
    "int8": 8,
    "int16x8": 8,
    "weight_only_int8": 8,
    "dynamic_int4": 4,
}
_SLOWNESS = {"float32": 1.0, "float16": 1.0, "weight_only_int8": 1.1, "int16x8": 6.0, "dynamic_int4": 0.9}
_INTEGER_SLOWNESS = 0.4
_ROWS = 1000
_WEIGHTS = 577_000
_ROUNDS = 7


class MadeUpWorkers:
    """Answers a stage when it is waited for.

    Args:
        store: Where the answers are kept.
        slots: Stages that may be under way at once.
    """

    def __init__(self, store: ArtifactStore, slots: int = 2) -> None:
        self._store = store
        self._slots = slots
        self._waiting: deque[StageCall] = deque()
        self.seconds = 0.0

    @property
    def slots(self) -> int:
        """Stages that may be under way at once."""
        return self._slots

    def probe(self) -> DeviceFacts:
        """What the made-up device says of itself."""
        return MADE_UP_FACTS

    def places(self, call: StageCall) -> frozenset[Place]:
        """This process, as long as it has slots."""
        return frozenset({Place.DEVICE}) if len(self._waiting) < self._slots else frozenset()

    def start(self, call: StageCall, place: Place) -> None:
        """Puts the stage in line."""
        self._waiting.append(call)

    def wait(self, timeout_s: float) -> list[StageDone]:
        """Answers every stage in line."""
        started = time.perf_counter()
        done = [StageDone(call, self._answer(call)) for call in self._waiting]
        self._waiting.clear()
        self.seconds += time.perf_counter() - started
        return done

    def recall(self) -> list[StageCall]:
        """None: what is in line is answered at once."""
        return []

    def close(self) -> None:
        """Forgets the stages in line."""
        self._waiting.clear()

    def _answer(self, call: StageCall) -> StageRecord:
        made_by = self._made_by(call)
        output = {
            "base": "model",
            "pruned": "model",
            "float_tflite": "tflite",
            "quantized": "tflite",
            "reference": "outputs",
        }.get(call.stage)
        objects = {output: self._keep(made_by, output)} if output else {}
        record = StageRecord(call.stage, call.key, objects, _facts(call.stage, made_by), 1.0)
        self._store.add(record)
        return record

    def _made_by(self, call: StageCall) -> dict[str, Any]:
        """All parameters on the way to this stage."""
        source = call.inputs.get("tflite") or call.inputs.get("model")
        before = json.loads(self._store.path(source).read_text(encoding="utf-8")) if source else {}
        return before | dict(call.params)

    def _keep(self, made_by: Mapping[str, Any], output: str) -> str:
        with self._store.scratch() as folder:
            path = folder / f"made-up.{output}"
            path.write_text(json.dumps(made_by), encoding="utf-8")
            return self._store.add_object(path)


def _facts(stage: str, made_by: Mapping[str, Any]) -> dict[str, Any]:
    match stage:
        case "base":
            inputs = [{"name": "input", "shape": [-1, 8], "dtype": "float32"}]
            return {
                "format": "keras",
                "inputs": inputs,
                "outputs": [],
                "refusals": ModelRefusals().to_json(),
                "fixed_batch_size": None,
                "fixed_batch_reason": "",
                "calibration_refusal": None,
            }
        case "float_tflite":
            return {"refusals": {}}
        case "pruned":
            return {"format": "keras"}
        case "quantized":
            return _quantized(made_by)
        case "accuracy":
            return _accuracy(made_by)
        case "latency":
            return _latency(made_by)
    return {}


def _quantized(made_by: Mapping[str, Any]) -> dict[str, Any]:
    sparsity = made_by.get("sparsity", 0.0)
    size = round(_WEIGHTS * _BITS[made_by["quantization"]] / 8)
    sizes = {"size_bytes": size, "download_bytes": round(size * (1 - 0.9 * sparsity) * 0.93)}
    counted = {
        "prunable_sparsity": sparsity,
        "overall_sparsity": sparsity,
        "quantized_share": 1.0,
        "ops": 9,
        "ops_quantized": 9,
    }
    figures = {
        name: Measurement(value, "bytes", Provenance.MEASURED, "made up").to_json() for name, value in sizes.items()
    }
    return {"counted": counted, "figures": figures}


def _accuracy(made_by: Mapping[str, Any]) -> dict[str, Any]:
    sparsity, bits = made_by.get("sparsity", 0.0), _BITS[made_by["quantization"]]
    right = round(_ROWS * (0.97 - 0.05 * sparsity**6 - 0.04 / bits + 0.004 * _scatter(made_by, "accuracy")))
    figure = Measurement(
        right / _ROWS, "fraction", Provenance.MEASURED, "made up", wilson_interval(right, _ROWS)
    ).to_json()
    return {"figures": {"accuracy": figure}, "counted": _delegation(made_by)}


def _latency(made_by: Mapping[str, Any]) -> dict[str, Any]:
    slowness = _SLOWNESS.get(made_by["quantization"], _INTEGER_SLOWNESS)
    kernels = 1.0 if made_by["delegate"] == "xnnpack" else 4.0
    rows = 0.1 + 0.9 * made_by["batch_size"] ** 0.9
    threads = made_by["num_threads"] ** 0.7
    p50_ms = 0.2 * slowness * kernels * rows / threads * math.exp(0.03 * _scatter(made_by, "latency"))
    rounds = [
        {
            "median_ms": p50_ms * (1 + 0.002 * number),
            "p90_ms": p50_ms * 1.1,
            "calls": 100,
            "wall_s": 0.08,
            "cpu_s": 0.08 * made_by["num_threads"],
            "others_s": 0.0,
            "disturbed": False,
            "reference_ms": 0.2,
        }
        for number in range(_ROUNDS)
    ]
    cold_starts = [{"load_ms": 1.0, "first_call_ms": 4.0, "peak_memory_bytes": 5_000_000}] * 3
    load = {"last_level_cache_bytes": 2**25, "load_average": 0.0, "steal_s": 0.0}
    return {"rounds": rounds, "cold_starts": cold_starts} | load | _delegation(made_by)


def _delegation(made_by: Mapping[str, Any]) -> dict[str, int]:
    return {"delegated_nodes": 9 if made_by["delegate"] == "xnnpack" else 0, "nodes": 9}


def _scatter(made_by: Mapping[str, Any], what: str) -> float:
    """A number in [-1, 1] that is always the same for the same configuration."""
    return int(digest_of_json([what, dict(made_by)])[:8], 16) / 0xFFFFFFFF * 2 - 1
