"""A data sheet as a device: real answers, modelled figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.objectives.devices import Candidate, ProfileDevice, open_device
from litefront.objectives.modelled_timing import ModelledTiming
from litefront.objectives.timing import Timing
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError, InputError
from litefront.spaces.quantization import Quantization
from tests.conftest import run_rows
from tests.objectives.devices.contract import DeviceContract
from tests.objectives.made_profile import made_profile

Candidates = dict[tuple[Quantization, int], Path]
TIMING = Timing()


@pytest.fixture
def device() -> ProfileDevice:
    return ProfileDevice(made_profile())


def candidate(files: Candidates, quantization: Quantization, batch_size: int = 1, **config: Any) -> Candidate:
    chosen = DeploymentConfig(quantization=quantization, batch_size=batch_size, **config)
    return Candidate(files[quantization, batch_size], chosen)


def modelled(device: ProfileDevice, asked: Candidate, rows_file: Path) -> ModelledTiming:
    timing = ModelledTiming.from_reply(device.benchmark(asked, rows_file, TIMING))
    assert timing is not None
    return timing


def test_a_data_sheet_takes_no_cores_and_brings_its_power(device: ProfileDevice) -> None:
    assert not device.shares_cores
    assert (device.power_model.name, device.power_model.core_w) == ("made-up", 1.0)


def test_probe_says_what_the_data_sheet_is(device: ProfileDevice) -> None:
    facts = device.probe()
    assert (facts.kind, facts.machine, facts.cores) == ("profile", "aarch64", 4)
    assert facts.runtime.startswith("roofline ")
    assert facts.runtime.endswith(f"profile made-up {device.profile.digest}")
    assert facts.refusals().keys() == {"nnapi", "external"}
    assert "the profile made-up has no nnapi" in facts.refusals()["nnapi"]
    assert "modelled" in facts.delegates["gpu"].implementation


def test_another_data_sheet_gives_other_keys(device: ProfileDevice) -> None:
    other = ProfileDevice(made_profile(static_w={"value": 2.5, "source": "made up"}))
    assert device.probe().identity() != other.probe().identity()
    assert device.probe().identity() == ProfileDevice(made_profile()).probe().identity()


def test_a_profile_comes_by_name() -> None:
    assert open_device({"kind": "profile", "profile": "pixel-3a"}).probe().cores == 8
    with pytest.raises(InputError, match="A profile must be"):
        open_device({"kind": "profile", "profile": "toaster"})


@pytest.mark.parametrize("delegate", [Delegate.NONE, Delegate.XNNPACK])
def test_answers_are_the_delegates_own(
    delegate: Delegate, device: ProfileDevice, candidate_files: Candidates, rows_file: Path, tmp_path: Path
) -> None:
    asked = candidate(candidate_files, Quantization.FLOAT32, delegate=delegate, num_threads=4)
    reply = device.infer(asked, rows_file, tmp_path / "outputs.npy")
    assert reply["delegated_nodes"] == {Delegate.NONE: 0, Delegate.XNNPACK: 4}[delegate]
    assert "answered_by" not in reply
    expected = run_rows(asked.model.read_bytes(), np.load(rows_file))
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected, atol=1e-5)


def test_answers_of_an_accelerator_come_from_here_and_say_so(
    device: ProfileDevice, candidate_files: Candidates, rows_file: Path, tmp_path: Path
) -> None:
    asked = candidate(candidate_files, Quantization.FLOAT32, delegate=Delegate.GPU)
    reply = device.infer(asked, rows_file, tmp_path / "outputs.npy")
    assert reply["answered_by"] == "xnnpack on this machine"
    assert reply["delegated_nodes"] == reply["nodes"] == 4
    assert len(np.load(tmp_path / "outputs.npy")) == len(np.load(rows_file))


@pytest.mark.parametrize("quantization", Quantization)
def test_the_data_sheet_delegates_what_xnnpack_really_takes(
    quantization: Quantization, device: ProfileDevice, candidate_files: Candidates, rows_file: Path, tmp_path: Path
) -> None:
    asked = candidate(candidate_files, quantization, delegate=Delegate.XNNPACK)
    really = device.infer(asked, rows_file, tmp_path / "outputs.npy")
    model = device.call_model(asked.model).call(Delegate.XNNPACK, 1)
    # LiteRT counts the casts of stored constants as well, which run once, when the model is loaded.
    prepared = really["nodes"] - model.operators
    assert model.delegated in (really["delegated_nodes"], really["delegated_nodes"] - prepared)


def test_a_benchmark_asks_no_clock(device: ProfileDevice, candidate_files: Candidates, rows_file: Path) -> None:
    asked = candidate(candidate_files, Quantization.FLOAT32)
    reply = device.benchmark(asked, rows_file, TIMING)
    assert reply == device.benchmark(asked, rows_file, TIMING)
    assert "rounds" not in reply
    assert reply["last_level_cache_bytes"] == 1000
    timing = modelled(device, asked, rows_file)
    assert timing.source == "roofline, profile made-up"
    assert (timing.latency_error, timing.busy_cores) == (pytest.approx(0.3), pytest.approx(1.0))
    assert timing.cold_start_ms > timing.latency_ms == timing.core_latency_ms
    # 72 + 8 and 864 + 3 float weights, packed once more.
    assert timing.memory_bytes > 2 * 4 * (80 + 867)


def test_threads_and_integers_are_faster(device: ProfileDevice, candidate_files: Candidates, rows_file: Path) -> None:
    one = modelled(device, candidate(candidate_files, Quantization.FLOAT32, 4), rows_file)
    two = modelled(device, candidate(candidate_files, Quantization.FLOAT32, 4, num_threads=2), rows_file)
    assert two.latency_ms < one.latency_ms
    assert two.busy_cores > one.busy_cores
    assert two.core_latency_ms == one.latency_ms


def test_an_accelerator_has_its_own_error(device: ProfileDevice, candidate_files: Candidates, rows_file: Path) -> None:
    timing = modelled(device, candidate(candidate_files, Quantization.INT8, delegate=Delegate.NPU), rows_file)
    assert 0.3 < timing.latency_error <= 0.5
    assert timing.cold_start_ms > 10


def test_a_batch_that_an_accelerator_does_not_take_is_refused(
    device: ProfileDevice, candidate_files: Candidates, rows_file: Path
) -> None:
    asked = candidate(candidate_files, Quantization.INT8, 4, delegate=Delegate.NPU)
    with pytest.raises(CandidateError, match="made-up NPU takes at most 1 rows a call, but the model has a batch of 4"):
        device.benchmark(asked, rows_file, TIMING)


def test_what_is_no_model_costs_the_candidate(device: ProfileDevice, rows_file: Path, tmp_path: Path) -> None:
    bad = Candidate(tmp_path / "bad.tflite", DeploymentConfig())
    bad.model.write_bytes(b"no model at all")
    for delegate in (Delegate.XNNPACK, Delegate.GPU):
        asked = Candidate(bad.model, DeploymentConfig(delegate=delegate))
        with pytest.raises(CandidateError, match="^refused: "):
            device.infer(asked, rows_file, tmp_path / "outputs.npy")
        with pytest.raises(CandidateError, match="^refused: "):
            device.benchmark(asked, rows_file, TIMING)


class TestContract(DeviceContract):
    @pytest.fixture
    def device(self) -> ProfileDevice:
        return ProfileDevice(made_profile())
