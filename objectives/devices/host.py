"""The machine that the work runs on, as a device: candidates run on its own cores, in the runner's process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litefront.objectives.devices.device import DeviceFacts
from litefront.objectives.latency import Timing
from litefront.objectives.power import HOST_POWER, PowerModel
from litefront.objectives.runner_process import run_request
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError, InputError

__all__ = ["HostDevice"]

_PROBE_TIMEOUT_S = 60.0
_INFER_TIMEOUT_S = 900.0
_BENCHMARK_TIMEOUT_S = 180.0


class HostDevice:
    """This machine."""

    @property
    def power_model(self) -> PowerModel:
        """How power is estimated there."""
        return HOST_POWER

    @property
    def shares_cores(self) -> bool:
        """The host's candidates run on the cores that train and convert."""
        return True

    def probe(self) -> DeviceFacts:
        """Asks this machine what it is, through the runner.

        Raises:
            InputError: If LiteRT does not run here.
        """
        try:
            reply = run_request({"action": "probe"}, timeout_s=_PROBE_TIMEOUT_S)
        except CandidateError as error:
            raise InputError(f"LiteRT must run on this machine, but its runner {error}") from error
        return DeviceFacts("host", reply["processor"], reply["machine"], reply["cores"], reply["runtime"])

    def infer(self, model: Path, inputs: Path, outputs: Path, config: DeploymentConfig) -> Mapping[str, Any]:
        """Runs all rows of `inputs` through a `.tflite`; see `Device`."""
        request = _request("infer", model, inputs, config) | {"outputs": str(outputs)}
        return run_request(request, timeout_s=_INFER_TIMEOUT_S)

    def benchmark(self, model: Path, inputs: Path, config: DeploymentConfig, timing: Timing) -> Mapping[str, Any]:
        """Times calls of a `.tflite`; see `Device`."""
        request = _request("benchmark", model, inputs, config) | {"timing": timing.to_json()}
        return run_request(request, timeout_s=_BENCHMARK_TIMEOUT_S)


def _request(action: str, model: Path, inputs: Path, config: DeploymentConfig) -> dict[str, Any]:
    return {
        "action": action,
        "model": str(model),
        "inputs": str(inputs),
        "delegate": config.delegate.value,
        "num_threads": config.num_threads,
    }
