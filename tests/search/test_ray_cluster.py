"""A Ray cluster of two nodes that is there before the study, one of which sees neither the store nor the cores."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from litefront.search.ledger import totals_by_stage
from litefront.search.ray_workers import RayWorkers
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.stage_calls import StageCall
from litefront.search.stage_run import StageDone
from litefront.search.store import ArtifactStore
from litefront.search.study_run import RunOptions, run_study
from litefront.search.task_loading import LoadedTask
from litefront.search.workers import Place
from litefront.spaces.deployment_config import BASELINE
from litefront.spaces.errors import CandidateError, InputError
from tests.search.test_study_run import Listener, command, run, wait_for_cells
from tests.search.test_workers import Bench
from tests.search.tiny_study import SHORT_TIMING, TASK, write_study

RAY = Path(sys.executable).with_name("ray")
NAMESPACE = ["unshare", "--map-root-user", "--mount"]


class TwoNodes:
    """A head that offers the device, and a node beside it that may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self._folder = folder
        self.hidden = folder / "hidden"
        self.hidden.mkdir()
        self._boot_id = folder / "boot_id"
        self._boot_id.write_text("another machine\n", encoding="ascii")
        self._head = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "resources": {"device:host": 1}, "include_dashboard": False},
        )
        self.address: str = self._head.address
        self._second: subprocess.Popen[bytes] | None = None

    def start_second(self) -> None:
        """Starts the other node as on another machine: it has another kernel's identity, and nothing of `hidden`."""
        start = [str(RAY), "start", "--address", self.address, "--num-cpus=1", "--block"]
        hide = ["mount", "-t", "tmpfs", "tmpfs", str(self.hidden)]
        rename = ["mount", "--bind", str(self._boot_id), "/proc/sys/kernel/random/boot_id"]
        script = f"{shlex.join(hide)} && {shlex.join(rename)} && exec {shlex.join(start)}"
        self._second = subprocess.Popen(
            [*NAMESPACE, "sh", "-c", script],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # `ray start` notes its cluster in this folder, for every other Ray of this user to join.
            env=os.environ | {"RAY_TMPDIR": str(self._folder)},
        )

    def kill_second(self) -> None:
        """Takes the other node away with all its processes, as a power cut does."""
        assert self._second is not None
        for process in [*descendants(self._second.pid), self._second.pid]:
            os.kill(process, signal.SIGKILL)
        self._second.wait()
        self._second = None

    @property
    def second(self) -> int:
        """The process that the other node's processes descend from."""
        assert self._second is not None
        return self._second.pid

    def close(self) -> None:
        """Ends both nodes."""
        if self._second is not None:
            self.kill_second()
        self._head.shutdown()


def descendants(process: int) -> list[int]:
    """A process's children, their children and so on, as `/proc` has them."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == process:
            found += [int(stat.parent.name), *descendants(int(stat.parent.name))]
    return found


def maps_of(process: int) -> str:
    """What a process has mapped into its memory; nothing if it has ended."""
    try:
        return Path(f"/proc/{process}/maps").read_text(encoding="utf-8")
    except OSError:
        return ""


def title_of(process: int) -> str:
    """What a process shows as its command line, which Ray sets to its task's name; nothing if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""


def name_of(process: int) -> str:
    """A process's name."""
    return Path(f"/proc/{process}/comm").read_text(encoding="utf-8").strip()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("a node that does not see the store needs a mount namespace of its own")
    cluster = TwoNodes(tmp_path_factory.mktemp("cluster"))
    cluster.start_second()
    yield cluster
    cluster.close()


@pytest.fixture
def make_bench(cluster: TwoNodes, request: pytest.FixtureRequest) -> Iterator[Callable[..., Bench]]:
    """Makes a bench whose store the second node does not see; its options are those of the workers."""
    made: list[Bench] = []

    def make(model: str = "", **options: Any) -> Bench:
        def workers(store: ArtifactStore, loaded: LoadedTask) -> RayWorkers:
            return RayWorkers(store, loaded.packed, "host", {"kind": "host"}, address=cluster.address, **options)

        task = TASK.replace("def trained_model():\n", f"def trained_model():\n    {model}\n")
        made.append(Bench(workers, cluster.hidden / request.node.name, task))
        return made[-1]

    yield make
    for bench in made:
        bench.workers.close()


def run_at(bench: Bench, place: Place, call: StageCall) -> StageDone:
    """Runs a stage at a place, once the place is there."""
    deadline = time.monotonic() + 60
    while place not in bench.workers.places(call):
        assert time.monotonic() < deadline, "the place did not come"
        time.sleep(0.2)
    bench.workers.start(call, place)
    while not (done := bench.workers.wait(1.0)):
        pass
    return done[0]


def test_a_cluster_without_the_device_says_what_to_do(cluster: TwoNodes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ray start .*--resources='\{\"device:board\": 1\}'"):
        RayWorkers(ArtifactStore(tmp_path), b"", "board", {"kind": "host"}, address=cluster.address)


def test_an_address_where_nothing_answers_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must answer at '127.0.0.1:1', but nothing does"):
        RayWorkers(ArtifactStore(tmp_path), b"", "host", {"kind": "host"}, address="127.0.0.1:1")


def test_artifacts_travel_to_a_node_that_does_not_see_the_store_and_back(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    base = run_at(bench, Place.DEVICE, bench.calls.base())
    assert base.record is not None, base
    converted = run_at(bench, Place.ELSEWHERE, bench.calls.float_tflite(base.record, 4))
    assert converted.record is not None, converted
    quantized = run_at(bench, Place.ELSEWHERE, bench.calls.quantized(converted.record, BASELINE))
    assert quantized.record is not None, quantized
    assert ArtifactStore(bench.store.root).find("quantized", quantized.call.key) == quantized.record
    reference = run_at(bench, Place.ELSEWHERE, bench.calls.reference(quantized.record, BASELINE))
    assert reference.record is not None, reference
    accuracy = run_at(bench, Place.ELSEWHERE, bench.calls.accuracy(quantized.record, BASELINE, reference.record))
    assert accuracy.record is not None, accuracy
    latency = run_at(bench, Place.DEVICE, bench.calls.latency(quantized.record, BASELINE))
    assert latency.record is not None, latency


def test_a_stage_that_hangs_is_ended(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench("import time; time.sleep(3600)", stage_timeout_s=5)
    done = run_at(bench, Place.DEVICE, bench.calls.base())
    assert isinstance(done.error, CandidateError)
    assert str(done.error) == "base: hung for 5 s"


def test_a_process_that_dies_costs_its_stage_and_frees_its_core(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench("import os; os.kill(os.getpid(), 9)")
    done = run_at(bench, Place.DEVICE, bench.calls.base())
    assert isinstance(done.error, CandidateError)
    assert str(done.error) == "base: its process died"
    next_one = run_at(bench, Place.DEVICE, StageCall("quantized", {"quantization": "int7"}, {"tflite": "none"}))
    assert "int7" in str(next_one.error)


HANGS = "import time; time.sleep(3600)"
ENDS_AT_ONCE = StageCall("quantized", {"quantization": "int7"}, {"tflite": "none"}, leases_device=True)


def test_measurements_stand_in_line_and_none_is_heard_of_before_the_last_has_ended(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench("import time; time.sleep(3)")
    takes_long = replace(bench.calls.base(), leases_device=True)
    for call in (ENDS_AT_ONCE, takes_long):
        assert bench.workers.places(call) == {Place.DEVICE}
        bench.workers.start(call, Place.DEVICE)
    while not (done := bench.workers.wait(0.2)):
        pass
    assert [ended.call for ended in done] == [ENDS_AT_ONCE, takes_long]
    assert done[1].record is not None


def test_standing_in_line_does_not_count_towards_a_stages_time(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(HANGS, stage_timeout_s=5)
    for call in (replace(bench.calls.base(), leases_device=True), ENDS_AT_ONCE):
        bench.workers.start(call, Place.DEVICE)
    done = list[StageDone]()
    while len(done) < 2:
        done += bench.workers.wait(1.0)
    assert str(done[0].error) == "base: hung for 5 s"
    assert "int7" in str(done[1].error)


def test_measurements_that_have_not_begun_can_be_recalled(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(HANGS)
    in_line = [replace(ENDS_AT_ONCE, params={"quantization": name}) for name in ("int6", "int7")]
    for call in (replace(bench.calls.base(), leases_device=True), *in_line):
        bench.workers.start(call, Place.DEVICE)
    assert bench.workers.recall() == in_line
    assert bench.workers.recall() == []
    assert bench.workers.wait(1.0) == []


def test_idle_cores_import_what_builds_need_while_the_base_model_is_built(
    make_bench: Callable[..., Bench], cluster: TwoNodes
) -> None:
    bench = make_bench(HANGS)
    bench.workers.start(bench.calls.base(), Place.DEVICE)
    deadline = time.monotonic() + 60
    while not any("tensorflow" in maps_of(process) for process in descendants(cluster.second)):
        assert time.monotonic() < deadline, "no process of the second node has imported TensorFlow"
        time.sleep(0.2)


class PowerCut(Listener):
    """Takes the second node away while it converts."""

    def __init__(self, cluster: TwoNodes) -> None:
        super().__init__()
        self._cluster = cluster

    def stage_started(self, call: StageCall) -> None:
        if call.stage == "float_tflite" and "float_tflite" not in self.stages:
            threading.Thread(target=self._cut_while_it_converts, daemon=True).start()
        super().stage_started(call)

    def _cut_while_it_converts(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if any("litefront:float_tflite" in title_of(process) for process in descendants(self._cluster.second)):
                self._cluster.kill_second()
                return
            time.sleep(0.05)


def test_a_node_that_dies_takes_nothing_with_it(cluster: TwoNodes, caplog: pytest.LogCaptureFixture) -> None:
    study = write_study(cluster.hidden / "study", space={"quantization": ["float32", "int8"], "batch_size": [1, 4]})
    directory = RunDirectory(cluster.hidden / "run")
    results = run_study(study, directory, PowerCut(cluster), RunOptions(timing=SHORT_TIMING, address=cluster.address))
    # Whether the stage or the list of nodes tells it first is chance.
    assert "float_tflite runs again: " in caplog.text
    assert len(results.measured) == 4
    assert all(entry.failures == entry.repeated == 0 for entry in totals_by_stage(results.ledger).values())


def test_when_ray_is_killed_the_run_says_so_and_the_same_command_goes_on(tmp_path: Path) -> None:
    study, folder = write_study(tmp_path / "study", space={"batch_size": [1, 4]}), tmp_path / "run"
    process = command(study, folder)
    before = wait_for_cells(folder, 1, process)
    (raylet,) = [child for child in descendants(process.pid) if name_of(child) == "raylet"]
    os.kill(raylet, signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "Ray must live as long as the run" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert output == ""
    results, _ = run(study, folder)
    assert len(results.measured) == 2
    assert read_json_lines(folder / "cells.jsonl")[: len(before)] == before
