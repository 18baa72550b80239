"""One contract for whatever runs stages: held by the serial workers and by Ray's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from litefront.objectives.devices import HostDevice
from litefront.search.ray_workers import RayWorkers
from litefront.search.stage_calls import StageCall, StageCalls
from litefront.search.stage_run import StageDone
from litefront.search.store import ArtifactStore
from litefront.search.task_loading import LoadedTask, load_task
from litefront.search.workers import SerialWorkers, Workers
from litefront.search.workplace import Workplace
from litefront.spaces.deployment_config import BASELINE
from litefront.spaces.errors import CandidateError
from litefront.spaces.sparsity import Sparsity
from tests.search.tiny_study import SHORT_TIMING, TASK, write_study


class Bench:
    """A store, a task, and workers that run its stages."""

    def __init__(
        self, make_workers: Callable[[ArtifactStore, LoadedTask], Workers], folder: Path, task: str = TASK
    ) -> None:
        self.loaded = load_task(write_study(folder / "study", task=task))
        self.store = ArtifactStore(folder / "store")
        evaluation = self.loaded.task.evaluation
        assert evaluation.labels is not None
        self.calls = StageCalls(
            self.loaded,
            HostDevice().probe(),
            evaluation_inputs=self._keep(evaluation.inputs),
            evaluation_labels=self._keep(evaluation.labels),
            sparsities=(0.0, 0.5),
            timing=SHORT_TIMING,
        )
        self.workers = make_workers(self.store, self.loaded)

    def run(self, *calls: StageCall) -> list[StageDone]:
        """Starts each call once there is a place for it, and waits for all of them."""
        waiting, done = list(calls), list[StageDone]()
        while len(done) < len(calls):
            while waiting and (places := self.workers.places(waiting[0])):
                self.workers.start(waiting.pop(0), min(places))
            done += self.workers.wait(1.0)
        return sorted(done, key=lambda ended: [call.key for call in calls].index(ended.call.key))

    def _keep(self, array: np.ndarray) -> str:
        with self.store.scratch() as folder:
            np.save(folder / "array.npy", array)
            return self.store.add_object(folder / "array.npy")


def serial(store: ArtifactStore, loaded: LoadedTask) -> Workers:
    return SerialWorkers(Workplace(store, loaded.task, HostDevice()))


def on_ray(store: ArtifactStore, loaded: LoadedTask) -> Workers:
    return RayWorkers(store, loaded.packed, "host", {"kind": "host"}, cores=2)


@pytest.fixture(scope="module", params=[serial, on_ray], ids=["serial", "ray"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(request.param, tmp_path_factory.mktemp("workers"))
    yield bench
    bench.workers.close()


class TestWorkers:
    """What the scheduler relies on."""

    def test_a_stage_leaves_its_record_in_the_store(self, bench: Bench) -> None:
        (done,) = bench.run(bench.calls.base())
        assert done.error is None
        assert done.record is not None
        assert bench.store.find("base", done.call.key) == done.record
        assert bench.store.path(done.record.objects["model"]).is_file()

    def test_each_stage_builds_on_the_one_before_it(self, bench: Bench) -> None:
        base = self.record(bench, bench.calls.base())
        pruned = self.record(bench, bench.calls.pruned(base, base, Sparsity(0.5)))
        float_tflite = self.record(bench, bench.calls.float_tflite(pruned, 4))
        config = replace(BASELINE, sparsity=Sparsity(0.5), batch_size=4)
        quantized = self.record(bench, bench.calls.quantized(float_tflite, config))
        whole = self.record(bench, bench.calls.float_tflite(base, 4))
        float32 = self.record(bench, bench.calls.quantized(whole, replace(BASELINE, batch_size=4)))
        reference = self.record(bench, bench.calls.reference(float32, replace(BASELINE, batch_size=4)))
        accuracy = self.record(bench, bench.calls.accuracy(quantized, config, reference))
        latency = self.record(bench, bench.calls.latency(quantized, config))
        assert quantized.facts["counted"]["prunable_sparsity"] == pytest.approx(0.5, abs=0.01)
        assert accuracy.facts["figures"]["accuracy"]["value"] > 0.6
        assert latency.facts["nodes"] == latency.facts["delegated_nodes"] > 0

    def test_stages_that_are_under_way_together_all_end(self, bench: Bench) -> None:
        base = self.record(bench, bench.calls.base())
        calls = [bench.calls.float_tflite(base, batch_size) for batch_size in (2, 3, 5)]
        assert [done.error for done in bench.run(*calls)] == [None, None, None]

    def test_an_error_of_ours_comes_back_as_it_was_raised(self, bench: Bench) -> None:
        base = self.record(bench, bench.calls.base())
        float_tflite = self.record(bench, bench.calls.float_tflite(base, 1))
        call = bench.calls.latency(float_tflite, BASELINE)
        broken = replace(call, inputs={**call.inputs, "tflite": call.inputs["rows"]})
        (done,) = bench.run(broken)
        assert done.record is None
        assert isinstance(done.error, CandidateError)
        assert "refused" in str(done.error)

    def test_an_error_that_nobody_foresaw_costs_the_candidate_with_its_reason(self, bench: Bench) -> None:
        (done,) = bench.run(StageCall("quantized", {"quantization": "int7"}, {"tflite": "none"}))
        assert isinstance(done.error, CandidateError)
        assert "'int7' is not a valid Quantization" in str(done.error)
        assert "Traceback" in done.details

    def test_the_device_is_probed_where_it_measures(self, bench: Bench) -> None:
        assert bench.workers.probe() == HostDevice().probe()

    def test_a_stage_has_no_place_beside_a_full_house(self, bench: Bench) -> None:
        base = self.record(bench, bench.calls.base())
        calls = [bench.calls.float_tflite(base, batch_size) for batch_size in range(10, 10 + bench.workers.slots)]
        for call in calls:
            (place,) = bench.workers.places(call)
            bench.workers.start(call, place)
        assert bench.workers.places(bench.calls.float_tflite(base, 99)) == frozenset()
        ended = list[StageDone]()
        while len(ended) < len(calls):
            ended += bench.workers.wait(1.0)

    def test_nothing_under_way_is_nothing_to_wait_for(self, bench: Bench) -> None:
        assert bench.workers.wait(0.01) == []

    def record(self, bench: Bench, call: StageCall):  # type: ignore[no-untyped-def]
        found = bench.store.find(call.stage, call.key)
        if found is not None:
            return found
        (done,) = bench.run(call)
        assert done.record is not None, done.error
        return done.record
