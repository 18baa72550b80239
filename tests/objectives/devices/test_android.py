"""A phone as a device, on a stand-in that replays documented outputs: no figure here was seen on a phone."""

from __future__ import annotations

import fcntl
import re
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from litefront.objectives.cold_start import measure_cold_start
from litefront.objectives.devices import AndroidDevice, Candidate, benchmark_model
from litefront.objectives.latency import measure_latency
from litefront.objectives.power import HOST_POWER
from litefront.objectives.timing import Timing
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError, InputError
from litefront.spaces.quantization import Quantization
from tests.conftest import run_rows
from tests.objectives.devices.contract import DeviceContract
from tests.objectives.devices.made_phone import MadePhone

Candidates = dict[tuple[Quantization, int], Path]
SHORT = Timing(min_rounds=3, round_s=0.001, max_s=0.05, warm_up_max_s=0.01, cold_starts=2)
LIBRARY = "/data/local/tmp/libdelegate.so"


@pytest.fixture
def phone(tmp_path: Path) -> MadePhone:
    return MadePhone(tmp_path / "phone")


@pytest.fixture
def device(phone: MadePhone) -> AndroidDevice:
    return AndroidDevice(**phone.settings())


def a_candidate(
    files: Candidates, delegate: Delegate = Delegate.XNNPACK, batch_size: int = 1, num_threads: int = 1
) -> Candidate:
    config = DeploymentConfig(delegate=delegate, batch_size=batch_size, num_threads=num_threads)
    return Candidate(files[Quantization.FLOAT32, batch_size], config)


class TestProbe:
    def test_it_says_what_the_phone_is(self, phone: MadePhone, device: AndroidDevice) -> None:
        facts = device.probe()
        assert (facts.kind, facts.machine, facts.cores) == ("android", "arm64-v8a", 8)
        assert facts.processor == "Tensor G3 in Maker Phone 8 28151FDH"
        assert re.fullmatch("benchmark_model [0-9a-f]{12}, maker/husky/husky:14/UQ1A:user/release-keys", facts.runtime)
        assert set(facts.refusals()) == {"npu", "nnapi", "external"}
        assert facts.identity() == device.probe().identity()

    def test_what_changes_its_figures_is_part_of_it(self, phone: MadePhone) -> None:
        pinned = AndroidDevice(**phone.settings(cpu_mask="f0", fixed_performance=True)).probe()
        assert pinned.cores == 4
        assert pinned.runtime.endswith(", cores f0, fixed performance")

    def test_a_mask_without_cores_of_the_phone_is_refused(self, phone: MadePhone) -> None:
        with pytest.raises(InputError, match="must name cores of the phone's 8, but got f00"):
            AndroidDevice(**phone.settings(cpu_mask="f00")).probe()

    def test_every_phone_is_a_device_of_its_own(self, tmp_path: Path) -> None:
        phones = MadePhone(tmp_path / "phones", ("ONE", "TWO"))
        one, two = (AndroidDevice(**phones.settings(serial=serial)).probe() for serial in ("ONE", "TWO"))
        assert one.identity() != two.identity()
        assert all("-s ONE" in call or "-s TWO" in call for call in phones.calls("shell"))
        with pytest.raises(InputError, match="`serial` must say which"):
            AndroidDevice(**phones.settings()).probe()

    def test_a_delegate_is_tried_on_a_model(self, phone: MadePhone, device: AndroidDevice) -> None:
        phone.replay("gpu", "gpu_unsupported")
        refusals = device.probe().refusals()
        assert "GPU acceleration is unsupported on this platform" in refusals["gpu"]
        assert "xnnpack" not in refusals

    @pytest.mark.parametrize(("sdk", "said"), [("34", ""), ("35", "deprecated, SDK 35")])
    def test_nnapi_is_offered_where_it_is_named_and_works(self, phone: MadePhone, sdk: str, said: str) -> None:
        phone.set_property("ro.build.version.sdk", sdk)
        named = AndroidDevice(**phone.settings(delegates={"nnapi": {}}))
        assert named.probe().delegates["nnapi"].implementation == said
        assert "nnapi" not in named.probe().refusals()
        phone.replay("nnapi", "gpu_unmentioned")
        assert "does not say that it was applied" in named.probe().refusals()["nnapi"]

    def test_an_external_delegate_is_known_by_its_library(self, phone: MadePhone) -> None:
        device = AndroidDevice(**phone.settings(delegates={"external": {"library": LIBRARY, "options": {"a": 1}}}))
        assert "No such file" in device.probe().refusals()["external"]
        (phone.temporary / "libdelegate.so").write_bytes(b"one")
        first = device.probe().delegates["external"].implementation
        (phone.temporary / "libdelegate.so").write_bytes(b"two")
        assert first != device.probe().delegates["external"].implementation

    def test_a_delegates_options_are_part_of_what_it_is(self, phone: MadePhone) -> None:
        precise = AndroidDevice(**phone.settings(delegates={"gpu": {"precision_loss_allowed": False}})).probe()
        assert precise.delegates["gpu"].implementation == '{"precision_loss_allowed": false}'

    def test_the_tool_may_be_on_the_phone_already(self, phone: MadePhone) -> None:
        there = phone.temporary / "litefront" / "own_tool"
        there.parent.mkdir()
        there.write_text(phone.benchmark_model.read_text())
        there.chmod(0o755)
        facts = AndroidDevice(**phone.settings(benchmark_model="/data/local/tmp/litefront/own_tool")).probe()
        assert facts.delegates["xnnpack"].refusal is None
        assert not [name for name in phone.pushed() if name.endswith(".benchmark_model")]

    @pytest.mark.parametrize("path", ["/nowhere/benchmark_model", "/data/local/tmp/nothing"])
    def test_a_tool_that_is_nowhere_is_named(self, phone: MadePhone, path: str) -> None:
        with pytest.raises(InputError, match=r"`benchmark_model` must be a file .*No such file"):
            AndroidDevice(**phone.settings(benchmark_model=path)).probe()

    def test_a_tool_that_does_not_run_is_told_with_its_words(self, phone: MadePhone, device: AndroidDevice) -> None:
        phone.replay("none", "cannot_link", code=1)
        with pytest.raises(InputError, match="The phone 28151FDH must run `benchmark_model`, but it .*CANNOT LINK"):
            device.probe()

    def test_a_phone_that_is_not_ready_is_told_apart(self, phone: MadePhone, device: AndroidDevice) -> None:
        phone.attach({"28151FDH": "unauthorized"})
        with pytest.raises(InputError, match="unauthorized: allow USB debugging"):
            device.probe()

    def test_a_phone_that_does_not_say_what_it_is(self, phone: MadePhone, device: AndroidDevice) -> None:
        phone.set_property("ro.build.version.sdk", "")
        with pytest.raises(InputError, match="does not say what it is: Maker / Phone 8"):
            device.probe()


class TestBenchmark:
    def test_its_reply_becomes_figures(
        self, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        reply = device.benchmark(a_candidate(candidate_files), rows_file, SHORT)
        latency = measure_latency([reply["rounds"]], batch_size=1)
        assert latency["latency_ms"].value == 13.399
        assert latency["latency_ms"].source.startswith("p50 of a call over 3 rounds, 69 calls")
        assert latency["latency_p90_ms"].value == 13.76
        assert latency["latency_p90_ms"].source.startswith("p95 of a call, no less than its p90, over 3 rounds")
        cold = measure_cold_start(reply["cold_starts"])
        assert cold["cold_start_ms"].value == pytest.approx(2.148 + 15.24)
        assert cold["memory_bytes"].value == 6_553_600
        assert (reply["delegated_nodes"], reply["nodes"]) == (5, 5)
        assert reply["last_level_cache_bytes"] == 4096 * 1024
        assert reply["load_average"] >= 0 and reply["steal_s"] >= 0
        # The stand-in for the tool may need less than one tick of either clock.
        assert all(entry["wall_s"] >= 0 and entry["cpu_s"] >= 0 for entry in reply["rounds"])

    def test_an_old_builds_mean_is_called_one(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        phone.replay("xnnpack", "xnnpack_old_build")
        reply = device.benchmark(a_candidate(candidate_files), rows_file, SHORT)
        latency = measure_latency([reply["rounds"]], batch_size=1)
        assert latency["latency_ms"].source.startswith("mean of a call over")
        assert latency["latency_p90_ms"].source.startswith("maximum of a call, no less than its p90, over")
        assert latency["throughput_per_s"].source.startswith("batch / mean")

    def test_the_references_rounds_stand_between_the_candidates(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        candidate, reference = a_candidate(candidate_files), a_candidate(candidate_files, Delegate.NONE)
        reply = device.benchmark(candidate, rows_file, SHORT, reference)
        assert [entry["reference_ms"] for entry in reply["rounds"]] == [36.044] * 3
        timed = ["true" in re.findall("--use_xnnpack=(true|false)", call) for call in phone.calls("--num_runs=3")]
        assert sorted(timed) == [False] * 3 + [True] * 3
        assert timed not in ([False] * 3 + [True] * 3, [True] * 3 + [False] * 3)

    def test_model_and_tool_are_pushed_once(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        for _ in range(2):
            device.benchmark(a_candidate(candidate_files), rows_file, SHORT)
        assert len(phone.calls(" push ") + phone.calls("push ")) == 2
        assert [name.partition(".")[2] for name in phone.pushed()] in (
            ["benchmark_model", "tflite"],
            ["tflite", "benchmark_model"],
        )

    @pytest.mark.parametrize(
        ("delegate", "options", "flags"),
        [
            (Delegate.NONE, {}, "--num_threads=2 --use_xnnpack=false --warmup"),
            (Delegate.XNNPACK, {}, "--num_threads=2 --use_xnnpack=true --warmup"),
            (
                Delegate.GPU,
                {"precision_loss_allowed": False, "backend": "cl", "sustained_speed": True},
                "--use_gpu=true --gpu_precision_loss_allowed=false --gpu_backend=cl "
                "--gpu_inference_for_sustained_speed=true --use_xnnpack=false",
            ),
            (Delegate.NNAPI, {}, "--use_nnapi=true --disable_nnapi_cpu=true --use_xnnpack=false"),
            (
                Delegate.NNAPI,
                {"accelerator_name": "google-edgetpu"},
                "--use_nnapi=true --nnapi_accelerator_name=google-edgetpu --use_xnnpack=false",
            ),
            (
                Delegate.EXTERNAL,
                {"library": LIBRARY, "options": {"backend_type": "htp", "level": 2}},
                f"--external_delegate_path={LIBRARY} '--external_delegate_options=backend_type:htp;level:2'",
            ),
        ],
    )
    def test_each_delegate_has_its_flags(
        self,
        phone: MadePhone,
        candidate_files: Candidates,
        rows_file: Path,
        delegate: Delegate,
        options: dict[str, object],
        flags: str,
    ) -> None:
        device = AndroidDevice(**phone.settings(cpu_mask="f0", delegates={delegate.value: options}))
        device.benchmark(a_candidate(candidate_files, delegate, num_threads=2), rows_file, SHORT)
        calls = phone.calls("--graph=")
        assert len(calls) == SHORT.cold_starts + SHORT.min_rounds
        assert all(flags in call and "taskset f0 " in call for call in calls)
        assert all(("LD_LIBRARY_PATH=/data/local/tmp " in call) is (delegate is Delegate.EXTERNAL) for call in calls)

    @pytest.mark.parametrize(
        ("output", "code", "reason"),
        [
            ("unknown_flag", 0, "Unconsumed cmdline flags"),
            ("gpu_not_executed", 0, "will not be executed by the delegate"),
            ("gpu_unmentioned", 0, "gpu was asked for, but"),
            ("aborted", -6, "crashed with SIGABRT"),
            ("no_timings", 0, "gave no timings"),
        ],
    )
    def test_what_did_not_run_as_asked_costs_the_candidate(
        self,
        phone: MadePhone,
        device: AndroidDevice,
        candidate_files: Candidates,
        rows_file: Path,
        output: str,
        code: int,
        reason: str,
    ) -> None:
        phone.replay("gpu", output, code)
        with pytest.raises(CandidateError, match=reason):
            device.benchmark(a_candidate(candidate_files, Delegate.GPU), rows_file, SHORT)

    def test_a_part_that_ran_elsewhere_is_counted(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        phone.replay("gpu", "gpu_partial")
        reply = device.benchmark(a_candidate(candidate_files, Delegate.GPU), rows_file, SHORT)
        assert (reply["delegated_nodes"], reply["nodes"]) == (29, 31)

    def test_what_others_do_beside_a_gpu_may_be_its_driver(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        reply = device.benchmark(a_candidate(candidate_files, Delegate.GPU), rows_file, SHORT)
        assert not any(entry["disturbed"] for entry in reply["rounds"])

    def test_a_phone_that_is_lost_in_the_middle_is_waited_for(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        phone.go_wrong("--num_runs=3", "error: device '28151FDH' not found", skip=1)
        assert len(device.benchmark(a_candidate(candidate_files), rows_file, SHORT)["rounds"]) == 3

    def test_a_phone_that_stays_away_costs_the_candidate(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        phone.go_wrong("--num_runs=3", "error: device '28151FDH' not found", skip=1, times=99)
        with pytest.raises(CandidateError, match="^lost the phone: error: device '28151FDH' not found"):
            device.benchmark(a_candidate(candidate_files), rows_file, SHORT)

    def test_a_full_phone_costs_the_candidate(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        phone.go_wrong("push", "adb: error: remote write failed: No space left on device", stream="stdout")
        with pytest.raises(CandidateError, match="could not be copied to the phone: .*No space left on device"):
            device.benchmark(a_candidate(candidate_files), rows_file, SHORT)

    def test_a_tool_that_hangs_is_ended_on_the_phone(
        self, phone: MadePhone, candidate_files: Candidates, rows_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended = phone.folder / "went_on"
        phone.benchmark_model.write_text(f"#!/bin/sh\nsleep 2\ntouch {ended}\n")
        monkeypatch.setattr(benchmark_model, "_TIMEOUT_S", 0.5)
        with pytest.raises(CandidateError, match="^hung: benchmark_model did not end within 0.5 s"):
            AndroidDevice(**phone.settings()).benchmark(a_candidate(candidate_files), rows_file, SHORT)
        time.sleep(2.5)
        assert not ended.exists()

    def test_an_adb_that_hangs_costs_the_candidate(
        self,
        phone: MadePhone,
        device: AndroidDevice,
        candidate_files: Candidates,
        rows_file: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        phone.go_wrong("--graph=", "never", sleep_s=60)
        monkeypatch.setattr(benchmark_model, "_TIMEOUT_S", 0.5)
        monkeypatch.setattr(benchmark_model, "_GRACE_S", 0.5)
        with pytest.raises(CandidateError, match="^hung: no answer from adb within 1 s"):
            device.benchmark(a_candidate(candidate_files), rows_file, SHORT)

    def test_a_phone_without_a_place_for_files_says_so(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        (phone.temporary / "litefront").write_bytes(b"no folder")
        with pytest.raises(CandidateError, match="litefront must be there, but the phone says: mkdir: .*File exists"):
            device.benchmark(a_candidate(candidate_files), rows_file, SHORT)


class TestHeat:
    def test_a_hot_phone_is_waited_for(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        phone.warm_up(2, 0)
        reply = device.benchmark(a_candidate(candidate_files, Delegate.GPU), rows_file, SHORT)
        assert reply["thermal_status"] == [0, 0]

    def test_one_that_stays_hot_gives_no_figure(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        phone.warm_up(2)
        with pytest.raises(
            CandidateError, match="too hot: its thermal status must be at most 0, but it is 2 after 0.2"
        ):
            device.benchmark(a_candidate(candidate_files), rows_file, SHORT)
        assert not phone.calls("--graph=")

    def test_what_the_entry_allows_is_not_waited_for(
        self, phone: MadePhone, candidate_files: Candidates, rows_file: Path
    ) -> None:
        phone.warm_up(1)
        device = AndroidDevice(**phone.settings(max_thermal_status=1))
        reply = device.benchmark(a_candidate(candidate_files, Delegate.GPU), rows_file, SHORT)
        assert reply["thermal_status"] == [1, 1]
        assert not any(entry["disturbed"] for entry in reply["rounds"])

    def test_figures_that_made_it_hot_are_disturbed(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        phone.warm_up(0, 1)
        reply = device.benchmark(a_candidate(candidate_files, Delegate.GPU), rows_file, SHORT)
        assert all(entry["disturbed"] for entry in reply["rounds"])

    def test_a_phone_that_tells_no_status_is_not_waited_for(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
    ) -> None:
        (phone.folder / "thermal" / "000").write_text("Can't find service: thermalservice\n")
        reply = device.benchmark(a_candidate(candidate_files, Delegate.GPU), rows_file, SHORT)
        assert reply["thermal_status"] == [None, None]

    def test_fixed_performance_is_switched_off_again(
        self, phone: MadePhone, candidate_files: Candidates, rows_file: Path
    ) -> None:
        device = AndroidDevice(**phone.settings(fixed_performance=True))
        phone.replay("gpu", "aborted", code=-6)
        with pytest.raises(CandidateError, match="SIGABRT"):
            device.benchmark(a_candidate(candidate_files, Delegate.GPU), rows_file, SHORT)
        calls = phone.calls("set-fixed-performance-mode-enabled")
        assert [re.findall("mode-enabled (true|false)", call) for call in calls] == [["true"], ["false"]]

    def test_a_phone_without_fixed_performance_says_so(
        self, phone: MadePhone, candidate_files: Candidates, rows_file: Path
    ) -> None:
        (phone.folder / "bin" / "cmd").write_text("#!/bin/sh\necho 'Unknown command'; exit 255\n")
        device = AndroidDevice(**phone.settings(fixed_performance=True))
        with pytest.raises(CandidateError, match="must take fixed-performance mode, but it says: Unknown command"):
            device.benchmark(a_candidate(candidate_files), rows_file, SHORT)


class TestInfer:
    @pytest.mark.parametrize("delegate", [Delegate.NONE, Delegate.XNNPACK])
    def test_the_cpus_delegates_answer_here(
        self,
        phone: MadePhone,
        device: AndroidDevice,
        candidate_files: Candidates,
        rows_file: Path,
        tmp_path: Path,
        delegate: Delegate,
    ) -> None:
        candidate = a_candidate(candidate_files, delegate, batch_size=4)
        reply = device.infer(candidate, rows_file, tmp_path / "outputs.npy")
        assert reply["answers"] == "this machine"
        expected = run_rows(candidate.model.read_bytes(), np.load(rows_file))
        np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected, atol=1e-5)
        assert not phone.calls()

    def test_what_a_gpu_answers_comes_from_the_phone(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path, tmp_path: Path
    ) -> None:
        candidate = a_candidate(candidate_files, Delegate.GPU, batch_size=4)
        reply = device.infer(candidate, rows_file, tmp_path / "outputs.npy")
        assert (reply["answers"], reply["rows"]) == ("the phone", 22)
        assert (reply["delegated_nodes"], reply["nodes"]) == (31, 31)
        expected = run_rows(candidate.model.read_bytes(), np.load(rows_file))
        np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected, atol=1e-5)
        assert len(phone.calls("--output_filepath")) == 6  # 22 rows, 4 a call
        assert "calls" not in phone.pushed()

    def test_outputs_of_another_size_are_refused(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path, tmp_path: Path
    ) -> None:
        tool = phone.benchmark_model.read_text()
        phone.benchmark_model.write_text(tool.replace(".tofile", "[..., :1].tofile"))
        with pytest.raises(CandidateError, match=r"must have \(1, 3\) values, but 4 bytes came back"):
            device.infer(a_candidate(candidate_files, Delegate.GPU), rows_file, tmp_path / "outputs.npy")

    def test_an_output_that_is_not_written_is_no_answer(
        self, phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path, tmp_path: Path
    ) -> None:
        tool = phone.benchmark_model.read_text()
        phone.benchmark_model.write_text(tool.replace("        answer(flags)", "        pass"))
        with pytest.raises(CandidateError, match="calls/0 could not be copied from the phone"):
            device.infer(a_candidate(candidate_files, Delegate.GPU), rows_file, tmp_path / "outputs.npy")

    def test_rows_of_another_shape_are_refused(
        self, device: AndroidDevice, candidate_files: Candidates, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "rows.npy", np.zeros((2, 9, 9, 1), np.float32))
        with pytest.raises(CandidateError, match=r"takes \(1, 8, 8, 1\), but the data gives \(2, 9, 9, 1\)"):
            device.infer(a_candidate(candidate_files, Delegate.GPU), tmp_path / "rows.npy", tmp_path / "outputs.npy")


def test_a_phones_cores_do_nothing_else_and_its_power_is_named(device: AndroidDevice) -> None:
    assert not device.shares_cores
    assert device.power_model is HOST_POWER


def test_a_phone_is_used_by_one_at_a_time(
    phone: MadePhone, device: AndroidDevice, candidate_files: Candidates, rows_file: Path
) -> None:
    device.benchmark(a_candidate(candidate_files), rows_file, SHORT)
    (lock,) = Path(tempfile.gettempdir()).glob("litefront-*-28151FDH.lock")
    phone.replay("xnnpack", "aborted", code=-6)
    asked = len(phone.calls("devices"))
    with ThreadPoolExecutor() as pool:
        with open(lock, "w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            reply = pool.submit(device.benchmark, a_candidate(candidate_files), rows_file, SHORT)
            while len(phone.calls("devices")) == asked and not reply.done():
                time.sleep(0.01)
            time.sleep(0.3)  # long enough for a measurement that does not wait to meet the abort
            phone.replay("xnnpack", "xnnpack")
        assert len(reply.result()["rounds"]) == 3


class TestContract(DeviceContract):
    @pytest.fixture
    def device(self, phone: MadePhone) -> AndroidDevice:
        return AndroidDevice(**phone.settings())
