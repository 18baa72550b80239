"""The host as a device: it runs the real runner, and keeps nothing between calls."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import numpy as np
import pytest

from litefront.objectives.devices import DEVICE_KINDS, Candidate, Device, HostDevice
from litefront.objectives.latency import measure_latency
from litefront.objectives.power import HOST_POWER
from litefront.objectives.timing import Timing
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization
from tests.conftest import run_rows
from tests.objectives.devices.contract import DeviceContract

Candidates = dict[tuple[Quantization, int], Path]
SHORT = Timing(min_rounds=3, round_s=0.001, max_s=0.05, warm_up_max_s=0.01, cold_starts=1)


@pytest.fixture
def host() -> HostDevice:
    return HostDevice()


@pytest.mark.parametrize("kind", DEVICE_KINDS)
def test_every_kind_has_what_a_device_promises(kind: str) -> None:
    device = DEVICE_KINDS[kind]
    promised = {name for name in vars(Device) if not name.startswith("_")}
    assert promised == {"power_model", "shares_cores", "probe", "infer", "benchmark"}
    for name in promised - {"power_model", "shares_cores"}:
        assert inspect.signature(getattr(device, name)) == inspect.signature(getattr(Device, name))


def test_the_host_trains_and_measures_on_the_same_cores(host: HostDevice) -> None:
    assert host.shares_cores
    assert host.power_model is HOST_POWER


def test_probe_says_what_this_machine_is(host: HostDevice) -> None:
    facts = host.probe()
    assert (facts.kind, facts.machine) == ("host", os.uname().machine)
    assert facts.cores == len(os.sched_getaffinity(0))
    assert facts.runtime.startswith("ai-edge-litert ")
    assert facts.identity() == host.probe().identity()
    assert set(facts.identity()) == {"kind", "processor", "machine", "cores", "runtime"}


@pytest.mark.parametrize("delegate", [Delegate.NONE, Delegate.XNNPACK])
def test_infer_runs_the_configurations_delegate(
    delegate: Delegate, host: HostDevice, candidate_files: Candidates, rows_file: Path, tmp_path: Path
) -> None:
    model = candidate_files[Quantization.FLOAT32, 4]
    config = DeploymentConfig(delegate=delegate, batch_size=4)
    reply = host.infer(Candidate(model, config), rows_file, tmp_path / "outputs.npy")
    assert reply["delegated_nodes"] == {Delegate.NONE: 0, Delegate.XNNPACK: 4}[delegate]
    np.testing.assert_allclose(
        np.load(tmp_path / "outputs.npy"), run_rows(model.read_bytes(), np.load(rows_file)), atol=1e-5
    )


def test_a_benchmark_becomes_a_latency(host: HostDevice, candidate_files: Candidates, rows_file: Path) -> None:
    config = DeploymentConfig(quantization=Quantization.INT8, batch_size=4)
    reply = host.benchmark(Candidate(candidate_files[Quantization.INT8, 4], config), rows_file, SHORT)
    figures = measure_latency([reply["rounds"]], batch_size=4)
    assert 0 < figures["latency_ms"].value <= figures["latency_p90_ms"].value
    assert figures["throughput_per_s"].value == pytest.approx(4000 / figures["latency_ms"].value)
    assert len(reply["cold_starts"]) == 1


def test_what_is_no_model_costs_the_candidate(host: HostDevice, rows_file: Path, tmp_path: Path) -> None:
    bad = Candidate(tmp_path / "bad.tflite", DeploymentConfig())
    bad.model.write_bytes(b"no model at all")
    with pytest.raises(CandidateError, match="^refused: "):
        host.infer(bad, rows_file, tmp_path / "outputs.npy")
    with pytest.raises(CandidateError, match="^refused: "):
        host.benchmark(bad, rows_file, SHORT)


class TestContract(DeviceContract):
    @pytest.fixture
    def device(self, host: HostDevice) -> HostDevice:
        return host
