"""What every kind of device promises, whatever it is: a class of tests that each kind's own tests take over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.objectives.cold_start import measure_cold_start
from litefront.objectives.devices import DEVICE_KINDS, Candidate, Device
from litefront.objectives.latency import busy_cores, measure_latency
from litefront.objectives.measurement import Measurement, Provenance
from litefront.objectives.modelled_timing import ModelledTiming
from litefront.objectives.power import PowerInputs
from litefront.objectives.timing import Timing
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization
from tests.conftest import run_rows

__all__ = ["DeviceContract"]

Candidates = dict[tuple[Quantization, int], Path]
SHORT = Timing(min_rounds=3, round_s=0.001, max_s=0.05, warm_up_max_s=0.01, cold_starts=1)


def figures_of(reply: Mapping[str, Any], batch_size: int) -> tuple[dict[str, Measurement], float]:
    """The figures that a benchmark's reply gives, measured or modelled, and the cores that it keeps busy."""
    modelled = ModelledTiming.from_reply(reply)
    if modelled is not None:
        return modelled.figures(batch_size), modelled.busy_cores
    figures = measure_latency([reply["rounds"]], batch_size) | measure_cold_start(reply["cold_starts"])
    return figures, busy_cores([reply["rounds"]])


class DeviceContract:
    """Every test of it runs for every kind that a machine without hardware can have."""

    @pytest.fixture
    def device(self) -> Device:
        raise NotImplementedError("each kind gives its own")

    def test_it_says_what_it_is_and_the_same_again(self, device: Device) -> None:
        facts = device.probe()
        assert facts.kind in DEVICE_KINDS
        assert facts.cores >= 1
        assert json.loads(json.dumps(facts.identity())) == facts.identity() == device.probe().identity()

    def test_it_has_litert_s_own_kernels_and_says_why_it_has_not_the_rest(self, device: Device) -> None:
        facts = device.probe(tuple(Delegate))
        refusals = facts.refusals()
        assert not {"none", "xnnpack"} & refusals.keys()
        for delegate, reason in refusals.items():
            assert reason.startswith(f"{delegate} is not there: ")
            assert len(reason) > len(f"{delegate} is not there: ")

    @pytest.mark.parametrize("delegate", [Delegate.NONE, Delegate.XNNPACK])
    def test_it_answers_row_by_row_as_a_direct_run(
        self, delegate: Delegate, device: Device, candidate_files: Candidates, rows_file: Path, tmp_path: Path
    ) -> None:
        model = candidate_files[Quantization.FLOAT32, 4]
        asked = Candidate(model, DeploymentConfig(delegate=delegate, batch_size=4))
        reply = device.infer(asked, rows_file, tmp_path / "outputs.npy")
        expected = run_rows(model.read_bytes(), np.load(rows_file))
        np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected, atol=1e-5)
        assert 0 <= reply["delegated_nodes"] <= reply["nodes"]
        assert (reply["delegated_nodes"] > 0) == (delegate is Delegate.XNNPACK)

    def test_its_timing_becomes_figures_and_these_become_power(
        self, device: Device, candidate_files: Candidates, rows_file: Path
    ) -> None:
        config = DeploymentConfig(quantization=Quantization.INT8, batch_size=4)
        asked = Candidate(candidate_files[Quantization.INT8, 4], config)
        beside = Candidate(candidate_files[Quantization.FLOAT32, 1], DeploymentConfig())
        reply = device.benchmark(asked, rows_file, SHORT, beside)
        figures, cores = figures_of(reply, batch_size=4)
        latency_ms = figures["latency_ms"].value
        assert 0 < latency_ms <= figures["latency_p90_ms"].value
        assert figures["throughput_per_s"].value == pytest.approx(4000 / latency_ms)
        assert figures["cold_start_ms"].value > 0
        cache = reply["last_level_cache_bytes"]
        inputs = PowerInputs(config.quantization, 4, latency_ms, cores, 1000, cache)
        energy = device.power_model.energy(inputs)
        assert energy.value > 0
        assert energy.provenance is Provenance.MODELLED

    def test_a_file_that_is_no_model_costs_its_candidate_and_no_other(
        self, device: Device, candidate_files: Candidates, rows_file: Path, tmp_path: Path
    ) -> None:
        bad = Candidate(tmp_path / "bad.tflite", DeploymentConfig())
        bad.model.write_bytes(b"no model at all")
        with pytest.raises(CandidateError):
            device.infer(bad, rows_file, tmp_path / "outputs.npy")
        with pytest.raises(CandidateError):
            device.benchmark(bad, rows_file, SHORT)
        good = Candidate(candidate_files[Quantization.FLOAT32, 1], DeploymentConfig())
        device.infer(good, rows_file, tmp_path / "outputs.npy")
        assert np.isfinite(np.load(tmp_path / "outputs.npy")).all()
