"""The machine that the work runs on, as a device: candidates run on its own cores, in the runner's process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from litefront.objectives.devices.device import Candidate, DeviceFacts
from litefront.objectives.devices.execution import DelegateOptions, execution
from litefront.objectives.power import HOST_POWER, PowerModel
from litefront.objectives.runner_server import runner_server
from litefront.objectives.timing import Timing
from litefront.spaces.errors import CandidateError, InputError

__all__ = ["HostDevice"]

_PROBE_TIMEOUT_S = 60.0
_INFER_TIMEOUT_S = 900.0


class HostDevice:
    """This machine.

    Args:
        delegates: Options of its delegates.
    """

    def __init__(self, delegates: DelegateOptions | None = None) -> None:
        self._delegates = delegates or {}

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
            reply = runner_server().ask({"action": "probe"}, timeout_s=_PROBE_TIMEOUT_S)
        except CandidateError as error:
            raise InputError(f"LiteRT must run on this machine, but its runner {error}") from error
        return DeviceFacts("host", reply["processor"], reply["machine"], reply["cores"], reply["runtime"])

    def infer(self, candidate: Candidate, inputs: Path, outputs: Path) -> Mapping[str, Any]:
        """Runs all rows of `inputs` through a candidate; see `Device`."""
        request = {"action": "infer", "inputs": str(inputs), "outputs": str(outputs)} | execution(
            candidate, self._delegates
        )
        return runner_server().ask(request, timeout_s=_INFER_TIMEOUT_S)

    def benchmark(
        self, candidate: Candidate, inputs: Path, timing: Timing, reference: Candidate | None = None
    ) -> Mapping[str, Any]:
        """Times calls of a candidate; see `Device`."""
        request = {
            "action": "benchmark",
            "inputs": str(inputs),
            "timing": timing.to_json(),
            "reference": reference and execution(reference, self._delegates),
        }
        return runner_server().ask(request | execution(candidate, self._delegates), timeout_s=timing.longest_s)
