"""Workers whose stages answer at once with made-up figures, and a study for them: whole searches within a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from litefront.objectives.devices import DeviceFacts
from litefront.objectives.measurement import Measurement, Provenance
from litefront.objectives.power import HOST_POWER
from litefront.objectives.timing import Timing
from litefront.search.stage_calls import StageCall, StageCalls
from litefront.search.stage_run import StageDone
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.study_opening import OpenStudy
from litefront.search.study_results import StudyContext
from litefront.search.study_spec import StudySpec
from litefront.search.workers import Place
from litefront.spaces.deployment_config import BASELINE
from litefront.spaces.dimension import Capabilities
from litefront.spaces.training.fine_tuning import FineTuning
from tests.search.records import FLOAT_ANSWERS

_LEAVES = {"base": "model", "pruned": "model", "float_tflite": "tflite", "quantized": "tflite"}

FACTS = DeviceFacts("host", "a processor", "x86_64", 4, "ai-edge-litert 2")
DEVICE: Any = SimpleNamespace(power_model=HOST_POWER, shares_cores=True)

Latency = Callable[[Mapping[str, Any], int], float]
"""Gives the latency of a candidate, ms, from the params of its stages and the number of its measurement."""


def open_made_study(spec: StudySpec) -> OpenStudy:
    """The study as it would be after it has met its model and device."""
    loaded: Any = SimpleNamespace(
        model_digest="m",
        training_digest="t",
        representative_digest="r",
        metric_digest="s",
        task=SimpleNamespace(fine_tuning=FineTuning()),
    )
    calls = StageCalls(
        loaded, FACTS, evaluation_inputs="e.npy", evaluation_labels="l.npy", sparsities=(), timing=Timing()
    )
    capabilities = Capabilities(FACTS.cores)
    space = spec.space.search_space()
    context = StudyContext(
        digest="made",
        device=FACTS.identity(),
        versions={},
        model={"metric": "top1"},
        baseline=BASELINE.params(),
        cells=len(space.cells(capabilities)),
        configurations=space.size(),
        refusals={},
        started_at="2026-01-01T00:00:00+00:00",
    )
    return OpenStudy(spec, DEVICE, calls, capabilities, BASELINE, context, reference=FLOAT_ANSWERS)


class MadeWorkers:
    """Runs stages by making up what they leave.

    Args:
        store: Where the results go.
        latency_ms: Gives the latency of a candidate.
        speed: The machine's speed at its n-th measurement, 1 being what `latency_ms` is given for.
    """

    def __init__(
        self, store: ArtifactStore, latency_ms: Latency, speed: Callable[[int], float] = lambda _number: 1.0
    ) -> None:
        self.ran: list[StageCall] = []
        self._store = store
        self._latency_ms = latency_ms
        self._speed = speed
        self._waiting: list[StageCall] = []

    @property
    def slots(self) -> int:
        return 2

    def probe(self) -> DeviceFacts:
        return FACTS

    def places(self, call: StageCall) -> frozenset[Place]:
        return frozenset({Place.DEVICE}) if len(self._waiting) < self.slots else frozenset()

    def start(self, call: StageCall, place: Place) -> None:
        self._waiting.append(call)

    def wait(self, timeout_s: float) -> list[StageDone]:
        return [self._done(self._waiting.pop(0))] if self._waiting else []

    def recall(self) -> list[StageCall]:
        return []

    def close(self) -> None:
        self._waiting.clear()

    def _done(self, call: StageCall) -> StageDone:
        self.ran.append(call)
        params: dict[str, Any] = {}
        for digest in (digest for name, digest in call.inputs.items() if name in ("model", "tflite")):
            params |= json.loads(self._store.path(digest).read_text(encoding="ascii"))
        params |= {name: value for name, value in call.params.items() if name != "reference"}
        objects = {}
        if (name := _LEAVES.get(call.stage)) is not None:
            with self._store.scratch() as folder:
                # What a candidate is stands in what its stages leave.
                (folder / name).write_text(json.dumps(params), encoding="ascii")
                objects[name] = self._store.add_object(folder / name)
        record = StageRecord(call.stage, call.key, objects, self._facts(call, params), 1.0)
        self._store.add(record)
        return StageDone(call, record)

    def _facts(self, call: StageCall, params: Mapping[str, Any]) -> dict[str, Any]:
        counted = {"delegated_nodes": 3, "nodes": 3}
        match call.stage:
            case "base" | "pruned":
                return {"format": "keras"}
            case "quantized":
                bits = {"float32": 32, "float16": 16}.get(params["quantization"], 8)
                size = 1000.0 * bits * (1 - 0.9 * params.get("sparsity", 0.0))
                return {"counted": {}, "figures": {"size_bytes": _figure(size, "bytes")}}
            case "accuracy":
                accuracy = 0.95 - 0.1 * params.get("sparsity", 0.0) ** 4
                return {"counted": counted, "figures": {"accuracy": _figure(accuracy, "fraction")}}
            case "latency":
                return counted | self._timing(call, params)
        return {}

    def _timing(self, call: StageCall, params: Mapping[str, Any]) -> dict[str, Any]:
        speed = self._speed(sum(earlier.stage == "latency" for earlier in self.ran))
        latency_ms = self._latency_ms(params, params["attempt"]) / speed
        a_round: dict[str, Any] = {"median_ms": latency_ms, "p90_ms": latency_ms, "calls": 9, "wall_s": 0.1}
        if (reference := call.inputs.get("reference")) is not None:
            beside = json.loads(self._store.path(reference).read_text(encoding="ascii")) | call.params["reference"]
            a_round["reference_ms"] = self._latency_ms(beside, 0) / speed
        return {
            "rounds": [a_round | {"cpu_s": 0.1, "others_s": 0.0, "disturbed": False}] * 7,
            "cold_starts": [{"load_ms": 1.0, "first_call_ms": 1.0, "peak_memory_bytes": 100}],
            "last_level_cache_bytes": 0,
            "load_average": 0.5,
            "steal_s": 0.0,
        }


def _figure(value: float, unit: str) -> dict[str, Any]:
    return Measurement(value, unit, Provenance.MEASURED, "made up").to_json()
